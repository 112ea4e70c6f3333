/*
 * quire and programs for it, and a rule for udev, as bytes. QUIRE, DEMO, TRANSLATION and RULES are
 * paths, given by the build.
 */
	.section .rodata, "a", @progbits
	.balign 4096
	.globl image_quire, image_quire_end, image_demo, image_demo_end
	.globl image_translation, image_translation_end, image_rules, image_rules_end
image_quire:
	.incbin QUIRE
image_quire_end:
	.balign 4096
image_demo:
	.incbin DEMO
image_demo_end:
	.balign 4096
image_translation:
	.incbin TRANSLATION
image_translation_end:
image_rules:
	.incbin RULES
image_rules_end:
	.section .note.GNU-stack, "", @progbits
