// SPDX-License-Identifier: LGPL-2.1-or-later
#include "errors.h"

#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

namespace py = pybind11;

namespace heca::binding {
namespace {

/// As long as the core has a word for the number, so that a new code is here without anybody thinking of it.
std::vector<std::string> ErrorCodes() {
  std::vector<std::string> words;
  for (std::uint8_t number = 1;; ++number) {
    const std::string_view word = ToString(static_cast<ErrorCode>(number));
    if (word == "UNKNOWN") return words;
    words.emplace_back(word);
  }
}

void Raise(const Status& status) {
  const py::object error = py::module_::import("heca.errors")
                               .attr("from_status")(ToString(status.code()), ToString(status.scope()), status.retryable(),
                                                    status.sys_errno(), py::str(status.message().data(), status.message().size()));
  PyErr_SetObject(py::type::of(error).ptr(), error.ptr());
}

}  // namespace

void BindErrors(py::module_& module) {
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const StatusError& error) {
      Raise(error.status());
    }
  });
  module.def("error_codes", &ErrorCodes);
}

}  // namespace heca::binding
