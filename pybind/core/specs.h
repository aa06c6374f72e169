// SPDX-License-Identifier: LGPL-2.1-or-later
// What Python asks for, as the core's structs. A value that is wrong is StatusError(kInvalidArgument) with its name; a key
// that is not known is our own mistake (heca/client.py makes them all).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "control/migration_types.h"
#include "control/node_types.h"
#include "errors.h"

namespace heca::binding {

/// A whole number of bytes, or a text such as "2GiB".
[[nodiscard]] Bytes BytesOf(std::string_view name, const pybind11::handle& value);

/// The value of an enumeration whose word this is.
template <class Enum>
[[nodiscard]] Enum EnumOf(std::string_view name, std::string_view word) {
  std::string words;
  for (std::uint8_t number = 1;; ++number) {
    const auto value = static_cast<Enum>(number);
    const std::string_view known = ToString(value);
    if (known == "unknown" || known.empty()) break;
    if (known == word) return value;
    words.append(words.empty() ? "" : ", ").append(known);
  }
  std::string text(name);
  text.append(": '").append(word).append("' is none of: ").append(words);
  throw StatusError({ErrorCode::kInvalidArgument, text});
}

[[nodiscard]] control::AttachSpec AttachSpecOf(const pybind11::dict& words);
[[nodiscard]] control::MigrateSpec MigrateSpecOf(const pybind11::dict& words);
[[nodiscard]] control::SteerSpec SteerSpecOf(const pybind11::dict& words);

}  // namespace heca::binding
