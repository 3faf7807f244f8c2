#include "gsr/gsr.h"

int32_t gsr_abi(void) { return GSR_ABI; }
