// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/check.h"

#include <cstdlib>

#include "base/log.h"

namespace heca {

void CheckFailed(const char* expression, const char* file, int line) {
  Log().critical("{}:{}: broken invariant: {}", file, line, expression);
  Log().flush();
  std::abort();
}

}  // namespace heca
