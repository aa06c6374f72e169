// SPDX-License-Identifier: LGPL-2.1-or-later
// From argv and hecad.toml to a checked Config, and back to text.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "heca/status.h"

namespace heca::daemon {

inline constexpr std::string_view kDefaultConfigFile = "/etc/heca/hecad.toml";

/// Everything that is wrong with a configuration, in the order of the lines; empty: nothing.
struct Problems {
  /// `where` is "FILE:LINE" or "--flag"; `key` is empty where the flag says it.
  void Add(std::string_view where, std::string_view key, std::string_view text);
  [[nodiscard]] bool empty() const { return lines.empty(); }

  std::vector<std::string> lines;  ///< "/etc/heca/hecad.toml:3: donate: '2XB' is not a size ..."
};

/// Where each key was set, for messages about keys that do not go together: key -> "FILE:LINE" or "--flag".
using Origins = std::map<std::string, std::string, std::less<>>;

/// Sets what the TOML text says. `file` is the name for messages.
void ApplyToml(std::string_view text, std::string_view file, Config& config, Origins& origins,
               Problems& problems);

/// Keys that do not go together, and defaults that depend on the host (name).
void Finish(Config& config, const Origins& origins, Problems& problems);

enum class Action : std::uint8_t { kInvalid = 0, kRun, kCheckConfig, kPrintConfig, kPrintText, kRefused };

/// What the command line asks for.
struct Invocation {
  Action action = Action::kInvalid;
  Config config;
  std::string text;   ///< kPrintText: help or version
  Problems problems;  ///< kRefused
};

/// `args` without the program's name. Reads --config, or the default file if it exists.
[[nodiscard]] Invocation ParseInvocation(std::span<const std::string> args);

/// hecad.toml with these values; every key has its explanation above it.
[[nodiscard]] std::string PrintConfig(const Config& config);
/// packaging/hecad.toml: every key, commented out, with its default.
[[nodiscard]] std::string ExampleConfig();

}  // namespace heca::daemon
