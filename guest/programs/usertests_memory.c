#include "guest/programs/usertests.h"
const struct user_test memory_tests[] = { { NULL, NULL } };
