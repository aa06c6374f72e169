// SPDX-License-Identifier: LGPL-2.1-or-later
// How the values are made. Private to values.cc and stats.cc.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>
#include <string_view>
#include <utility>

#include "control/node_types.h"

namespace heca::binding {

/// One of the dataclasses of heca/values.py, from its fields by name.
template <class... Fields>
pybind11::object Make(const char* type, Fields&&... fields) {
  return pybind11::module_::import("heca.values").attr(type)(std::forward<Fields>(fields)...);
}

/// Of an enumeration.
template <class Enum>
std::string_view Word(Enum value) {
  return ToString(value);
}

inline pybind11::object Moment(control::WallTime time) {
  const auto since = std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch());
  return pybind11::module_::import("heca.values").attr("moment")(since.count());
}

}  // namespace heca::binding
