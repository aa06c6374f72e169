// SPDX-License-Identifier: LGPL-2.1-or-later
// A Status becomes an exception: heca.errors.from_status makes the one that fits its code. Everything that can fail goes
// through Check or Value.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <utility>

#include "heca/status.h"

namespace heca::binding {

/// Carries a Status through pybind11 to the translator.
class StatusError final : public std::exception {
 public:
  explicit StatusError(Status status) : status_(std::move(status)) {}
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] const char* what() const noexcept override { return "a heca::Status"; }

 private:
  Status status_;
};

inline void Check(Status status) {
  if (!status.ok()) throw StatusError(std::move(status));
}

template <class T>
[[nodiscard]] T Value(Result<T> result) {
  if (!result.ok()) throw StatusError(result.status());
  return std::move(result).value();
}

/// The translator, and `error_codes()`: the words of all codes but OK, in their order.
void BindErrors(pybind11::module_& module);

}  // namespace heca::binding
