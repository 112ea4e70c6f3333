/*
 * Zipf by rejection-inversion (Hörmann and Derflinger, 1996): draw u under the integral H of the
 * density h(x) = x^-s, take x = H^-1(u), round to a rank, and keep it unless u fell beyond the
 * rank's own share. Few draws are rejected and no table is needed, whatever the count.
 */
#include "guest/programs/runtime/zipf.h"
#include "guest/programs/runtime/runtime.h"

#define LN2 0.6931471805599453

/* ln of x > 0: the exponent, and a series in (m - 1) / (m + 1) for the mantissa. */
static double ln(double x)
{
	union {
		double d;
		uint64_t bits;
	} u = { x };
	int exponent = (int)(u.bits >> 52 & 0x7ff) - 1023;
	double t, t2, sum = 0;

	u.bits = (u.bits & 0x000fffffffffffff) | 0x3ff0000000000000;
	if (u.d > 1.4142135623730951) {
		u.d /= 2;
		exponent++;
	}
	t = (u.d - 1) / (u.d + 1);
	t2 = t * t;
	for (int k = 15; k >= 1; k -= 2)
		sum = sum * t2 + 1.0 / k;
	return exponent * LN2 + 2 * t * sum;
}

/* e^x, |x| < 700: a power of two, and a series for the rest. */
static double exp_of(double x)
{
	union {
		double d;
		uint64_t bits;
	} scale;
	int64_t n = (int64_t)(x / LN2 + (x < 0 ? -0.5 : 0.5));
	double r = x - n * LN2, sum = 1;

	for (int k = 12; k >= 1; k--)
		sum = 1 + sum * r / k;
	scale.bits = (uint64_t)(n + 1023) << 52;
	return sum * scale.d;
}

static double density(const struct zipf *zipf, double x)
{
	return exp_of(-zipf->exponent * ln(x));
}

static double integral(const struct zipf *zipf, double x)
{
	return (exp_of((1 - zipf->exponent) * ln(x)) - 1) / (1 - zipf->exponent);
}

static double inverse(const struct zipf *zipf, double y)
{
	return exp_of(ln(1 + (1 - zipf->exponent) * y) / (1 - zipf->exponent));
}

void zipf_init(struct zipf *zipf, uint64_t count, double exponent)
{
	zipf->count = count;
	zipf->exponent = exponent;
	zipf->low = integral(zipf, 1.5) - 1;
	zipf->high = integral(zipf, count + 0.5);
	zipf->shortcut = 2 - inverse(zipf, integral(zipf, 2.5) - density(zipf, 2));
}

uint64_t zipf_next(const struct zipf *zipf, uint64_t *random)
{
	for (;;) {
		double unit = (double)(mix((*random)++) >> 11) / 9007199254740992.0;
		double u = zipf->high + unit * (zipf->low - zipf->high);
		double x = inverse(zipf, u);
		uint64_t rank = (uint64_t)(x + 0.5);

		rank = rank < 1 ? 1 : rank > zipf->count ? zipf->count : rank;
		if ((double)rank - x <= zipf->shortcut ||
		    u >= integral(zipf, rank + 0.5) - density(zipf, rank))
			return rank - 1;
	}
}
