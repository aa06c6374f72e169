// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/config_load.h"
#include "daemon/preflight.h"
#include "daemon/service.h"
#include "errors.h"
#include "process.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

/// The configuration that the flags of hecad say.
daemon::Config ConfigOf(const std::vector<std::string>& flags) {
  daemon::Invocation asked = daemon::ParseInvocation(flags);
  if (asked.action == daemon::Action::kRun) return std::move(asked.config);
  std::string text;
  for (const std::string& line : asked.problems.lines) text.append(text.empty() ? "" : "; ").append(line);
  throw StatusError({ErrorCode::kInvalidArgument, text.empty() ? "these flags ask for no hecad to run" : text});
}

/// One thread at a time; heca/node.py sees to it.
class Node {
 public:
  explicit Node(const std::vector<std::string>& flags) {
    Check(EnterProcess());
    const daemon::Config config = ConfigOf(flags);
    const py::gil_scoped_release release;
    daemon::SetLogLevel(config.log_level);
    Check(daemon::Preflight(config));
    service_ = ThisProcess<daemon::Service>(Value(daemon::Service::Start(config)));
  }
  ~Node() { Close(); }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  void Close() {
    const py::gil_scoped_release release;
    if (service_.get() != nullptr && !Forked()) service_.get()->Stop();
    service_ = ThisProcess<daemon::Service>();
  }

 private:
  ThisProcess<daemon::Service> service_;
};

}  // namespace

void BindNode(py::module_& module) {
  py::class_<Node>(module, "Node").def(py::init<const std::vector<std::string>&>(), py::arg("flags")).def("close", &Node::Close);
}

}  // namespace heca::binding
