// SPDX-License-Identifier: LGPL-2.1-or-later
// The bash completion of hecactl, made from its own declaration, so that the two cannot differ.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace heca::cli {

/// A script to be sourced; what is installed is printed by hecactl itself.
[[nodiscard]] std::string BashCompletion(const CLI::App& app);

}  // namespace heca::cli
