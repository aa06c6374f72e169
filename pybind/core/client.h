// SPDX-License-Identifier: LGPL-2.1-or-later
// heca._core.Client: NodeApi over a connection.
#pragma once

#include <pybind11/pybind11.h>

namespace heca::binding {

void BindClient(pybind11::module_& module);

}  // namespace heca::binding
