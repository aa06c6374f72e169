// SPDX-License-Identifier: LGPL-2.1-or-later
// The extension heca._core. It converts and waits; what is pleasant to use is heca/*.py.
#include <pybind11/pybind11.h>

#include <string>

#include "base/version.h"
#include "client.h"
#include "control/local_server.h"
#include "errors.h"
#include "event_stream.h"
#include "node.h"
#include "operation.h"
#include "process.h"
#include "values.h"

PYBIND11_MODULE(_core, module) {
  using namespace heca::binding;
  module.attr("VERSION") = std::string(heca::Version());
  module.attr("DEFAULT_SOCKET") = heca::control::kDefaultSocket;
  BindErrors(module);
  BindWords(module);
  BindOperation(module);
  BindEventStream(module);
  BindClient(module);
  BindNode(module);
  module.def("shutdown", &Shutdown);
}
