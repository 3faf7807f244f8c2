// What every entry point of both libraries shares: error text, and the choice between float and double.
#pragma once
#include <stdint.h>

#include <exception>

#include "gsr/checks.h"

namespace gsr {

void set_error(const char* text);

// Of gsr_error(): the structs differ; the call failed; a number is out of its bounds.
enum ErrorCode : int32_t { kOtherStruct = 1, kFailed, kBadNumber };

// Runs call(float()) or call(double()); checks that caller and library agree on the struct, and its numbers; turns
// exceptions into codes.
template <class Args, class Call>
int32_t dispatch(const Args* args, Call call) {
  if (args->struct_size != sizeof(Args))
    return set_error("library and caller disagree on the size of a struct"), kOtherStruct;
  try {
    check_numbers(*args);
    if (args->is_double) {
      call(double());
    } else {
      call(float());
    }
  } catch (const BadNumber& error) {
    return set_error(error.what()), kBadNumber;
  } catch (const std::exception& error) {
    return set_error(error.what()), kFailed;
  }
  return 0;
}

}  // namespace gsr
