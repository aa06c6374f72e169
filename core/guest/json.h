// SPDX-License-Identifier: LGPL-2.1-or-later
// Reading answers of QEMU without trusting their shape: a field that is missing or of another type is the default.
// Thread-safe; never throws.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

namespace heca::guest {

using Json = nlohmann::json;

/// The member `key`, or a null value.
[[nodiscard]] inline const Json& Member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}
[[nodiscard]] inline std::string TextOf(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}
[[nodiscard]] inline std::uint64_t NumberOf(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  return value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
}
[[nodiscard]] inline bool FlagOf(const Json& object, const char* key) {
  const Json& value = Member(object, key);
  return value.is_boolean() && value.get<bool>();
}
/// The elements of an array; none where it is not one.
[[nodiscard]] inline const Json::array_t& ElementsOf(const Json& value) {
  static const Json::array_t kNone;
  const auto* elements = value.get_ptr<const Json::array_t*>();
  return elements != nullptr ? *elements : kNone;
}

}  // namespace heca::guest
