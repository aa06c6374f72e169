// SPDX-License-Identifier: LGPL-2.1-or-later
// Ends the process when one of our own invariants is broken. Input, peers and the kernel get a Status instead.
#pragma once

namespace heca {

[[noreturn]] void CheckFailed(const char* expression, const char* file, int line);

}  // namespace heca

#define HECA_CHECK(expression) \
  ((expression) ? static_cast<void>(0) : ::heca::CheckFailed(#expression, __FILE__, __LINE__))
