// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/policy.h"

namespace heca::fault {

std::string_view ToString(PlaceCause cause) {
  switch (cause) {
    case PlaceCause::kInvalid: return "invalid";
    case PlaceCause::kReadFault: return "read fault";
    case PlaceCause::kWriteFault: return "write fault";
    case PlaceCause::kPrefetch: return "prefetch";
  }
  return "unknown";
}

}  // namespace heca::fault
