// SPDX-License-Identifier: LGPL-2.1-or-later
// The version of this build, from the project() line of CMakeLists.txt.
#pragma once

#include <string_view>

namespace heca {

/// "0.1.0". Thread-safe.
[[nodiscard]] std::string_view Version();

}  // namespace heca
