// SPDX-License-Identifier: LGPL-2.1-or-later
// What Python asks for, as the core's structs. A value that is wrong is StatusError(kInvalidArgument) with its name; a key
// that is not known is our own mistake (heca/client.py makes them all).
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "control/migration_types.h"
#include "control/node_types.h"
#include "errors.h"

namespace heca::binding {

/// A whole number of bytes, or a text such as "2GiB".
[[nodiscard]] Bytes BytesOf(std::string_view name, const pybind11::handle& value);

/// Of an enumeration: those that the core has for the numbers from 1 on, in their order.
template <class Enum>
[[nodiscard]] std::vector<std::string> WordsOf() {
  std::vector<std::string> words;
  for (std::uint8_t number = 1;; ++number) {
    const std::string_view word = ToString(static_cast<Enum>(number));
    if (word == "unknown" || word.empty()) return words;
    words.emplace_back(word);
  }
}

/// The value of an enumeration whose word this is.
template <class Enum>
[[nodiscard]] Enum EnumOf(std::string_view name, std::string_view word) {
  const std::vector<std::string> known = WordsOf<Enum>();
  std::string words;
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (known[i] == word) return static_cast<Enum>(i + 1);
    words.append(words.empty() ? "" : ", ").append(known[i]);
  }
  std::string text(name);
  text.append(": '").append(word).append("' is none of: ").append(words);
  throw StatusError({ErrorCode::kInvalidArgument, text});
}

[[nodiscard]] control::AttachSpec AttachSpecOf(const pybind11::dict& words);
[[nodiscard]] control::MigrateSpec MigrateSpecOf(const pybind11::dict& words);
[[nodiscard]] control::SteerSpec SteerSpecOf(const pybind11::dict& words);

}  // namespace heca::binding
