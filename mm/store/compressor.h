/* The compressors. */
#ifndef MM_STORE_COMPRESSOR_H
#define MM_STORE_COMPRESSOR_H

enum mm_compressor {
	MM_COMPRESSOR_NONE,
	MM_COMPRESSOR_LZ4,
	MM_COMPRESSOR_ZSTD,
};

#endif
