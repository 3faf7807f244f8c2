// What every entry point of both libraries shares: error text, and the choice between float and double.
#pragma once
#include <stdint.h>

#include <exception>

namespace gsr {

void set_error(const char* text);

// Runs call(float()) or call(double()); checks that caller and library agree on the struct; turns exceptions into
// codes.
template <class Args, class Call>
int32_t dispatch(const Args* args, Call call) {
  if (args->struct_size != sizeof(Args)) return set_error("library and caller disagree on the size of a struct"), 1;
  try {
    if (args->is_double) {
      call(double());
    } else {
      call(float());
    }
  } catch (const std::exception& error) {
    return set_error(error.what()), 2;
  }
  return 0;
}

}  // namespace gsr
