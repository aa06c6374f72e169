// SPDX-License-Identifier: LGPL-2.1-or-later
// heca._core.Node: a hecad inside this process.
#pragma once

#include <pybind11/pybind11.h>

namespace heca::binding {

void BindNode(pybind11::module_& module);

}  // namespace heca::binding
