// SPDX-License-Identifier: LGPL-2.1-or-later
// "Did you mean ...?"
#pragma once

#include <string_view>
#include <vector>

namespace heca {

/// The one of `known` that `word` was probably meant to be (fewest edits, at most a third of it or two), or
/// "".
[[nodiscard]] std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& known);

}  // namespace heca
