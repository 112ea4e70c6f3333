#include "base/lock.h"

_Thread_local unsigned lock_held;
