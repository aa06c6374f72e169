// SPDX-License-Identifier: LGPL-2.1-or-later
// The list of hecad's options: the file's parser, the flags, `--help` and `--print-config` are all made from
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config.h"
#include "heca/status.h"

namespace heca::daemon {

/// What a value looks like in the file. A flag's value is always the same text without quotes.
enum class ValueKind : std::uint8_t {
  kInvalid = 0,
  kText,    ///< "text"
  kSize,    ///< "2GiB" or a number of bytes
  kNumber,  ///< 42
  kSwitch,  ///< true or false; on and off as a flag
};

/// How to write a value of that kind: `a size like "2GiB"`.
[[nodiscard]] std::string_view Describe(ValueKind kind);

struct Option {
  std::string_view key;
  std::string_view group;  ///< heading in --help and in the example file
  std::string_view value;  ///< placeholder: SIZE, HOST:PORT
  std::string_view help;   ///< what it is, and what it costs to change it
  ValueKind kind = ValueKind::kInvalid;
  /// Checks and sets; the error says what is accepted and does not name the key.
  std::function<Status(Config&, std::string_view)> set;
  /// The value in the form that `set` takes.
  std::function<std::string(const Config&)> get;
};

/// In the order in which they are printed. Thread-safe; lives as long as the process.
[[nodiscard]] const std::vector<Option>& Options();
/// Null if there is no such key.
[[nodiscard]] const Option* FindOption(std::string_view key);

/// "NAME=HOST:PORT" or "NAME=HOST:PORT,FAILURE-DOMAIN".
[[nodiscard]] Result<Peer> ParsePeer(std::string_view text);
/// HOST:PORT with a port from 0 to 65535 ([::1]:7300 for IPv6).
[[nodiscard]] Status CheckAddress(std::string_view text);
/// [A-Za-z0-9._-]{1,64}.
[[nodiscard]] Status CheckName(std::string_view text);

}  // namespace heca::daemon
