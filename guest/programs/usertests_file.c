#include "guest/programs/usertests.h"
const struct user_test file_tests[] = { { NULL, NULL } };
