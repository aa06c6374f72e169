// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client.h"

#include <pybind11/stl.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "connection.h"
#include "errors.h"
#include "event_stream.h"
#include "operation.h"
#include "specs.h"
#include "values.h"
#include "wait.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

using control::NodeApi;
using control::ProgressSink;

/// What Python has in its hands; see heca/client.py.
class Client {
 public:
  Client(std::string socket, double timeout)
      : connection_(std::make_shared<Connection>(
            std::move(socket),
            std::chrono::duration_cast<Millis>(SecondsOf(timeout)))) {
    if (!(timeout > 0)) throw StatusError({ErrorCode::kInvalidArgument, "timeout: " + std::to_string(timeout) + " s is no time"});
  }

  void Close() { connection_->Close(); }
  [[nodiscard]] bool closed() const { return connection_->closed(); }

  /// A question with one answer. The connection lives on in this frame whoever closes the client meanwhile.
  template <class Question>
  auto Ask(const Question& question) {
    const std::shared_ptr<Connection> connection = connection_;
    NodeApi* const api = binding::Value(connection->Api());
    return WithoutGil([&] { return question(*api); });
  }
  template <class Question>
  py::object Tell(const Question& question) {
    return ToPython(binding::Value(Ask(question)));
  }

  std::unique_ptr<Operation> Begin(Operation::Run run) { return std::make_unique<Operation>(connection_, std::move(run)); }
  std::unique_ptr<EventStream> Follow(control::EventQuery query) {
    return std::make_unique<EventStream>(connection_, query);
  }

 private:
  std::shared_ptr<Connection> connection_;
};

Result<Outcome> ToOutcome(Status status) {
  if (!status.ok()) return status;
  return Outcome();
}

template <class T>
Result<Outcome> ToOutcome(Result<T> result) {
  if (!result.ok()) return result.status();
  return Outcome(std::move(result).value());
}

void BindOperations(py::class_<Client>& client) {
  client
      .def("attach",
           [](Client& self, const py::dict& words) {
             return self.Begin([spec = AttachSpecOf(words)](NodeApi& api, ProgressSink& sink) {
               return ToOutcome(api.Attach(spec, sink));
             });
           })
      .def("limit",
           [](Client& self, std::string region, const py::object& size) {
             return self.Begin([region = std::move(region), limit = BytesOf("size", size)](NodeApi& api, ProgressSink& sink) {
               return ToOutcome(api.Limit(region, limit, sink));
             });
           })
      .def("detach",
           [](Client& self, std::string region) {
             return self.Begin([region = std::move(region)](NodeApi& api, ProgressSink& sink) {
               return ToOutcome(api.Detach(region, sink));
             });
           })
      .def("migrate", [](Client& self, const py::dict& words) {
        return self.Begin([spec = MigrateSpecOf(words)](NodeApi& api, ProgressSink& sink) {
          return ToOutcome(api.Migrate(spec, sink));
        });
      });
}

void BindQuestions(py::class_<Client>& client) {
  client.def("about", [](Client& self) { return self.Tell([](NodeApi& api) { return api.About(); }); })
      .def("nodes", [](Client& self) { return self.Tell([](NodeApi& api) { return api.Nodes(); }); })
      .def("regions", [](Client& self) { return self.Tell([](NodeApi& api) { return api.Regions(); }); })
      .def("region",
           [](Client& self, const std::string& name) {
             return self.Tell([&](NodeApi& api) { return api.Region(name); });
           })
      .def("stats",
           [](Client& self, const std::string& region) {
             return self.Tell([&](NodeApi& api) { return api.Stats(region); });
           })
      .def("migrations", [](Client& self) { return self.Tell([](NodeApi& api) { return api.Migrations(); }); })
      .def("doctor", [](Client& self) { return self.Tell([](NodeApi& api) { return api.Doctor(); }); })
      .def("leases", [](Client& self) { return self.Tell([](NodeApi& api) { return api.Leases(); }); })
      .def("resolve",
           [](Client& self, const std::string& region, const std::string& how) {
             const auto lost = EnumOf<control::LostPages>("how", how);
             return self.Tell([&](NodeApi& api) { return api.Resolve(region, lost); });
           })
      .def("steer",
           [](Client& self, const py::dict& words) {
             const control::SteerSpec spec = SteerSpecOf(words);
             Check(self.Ask([&](NodeApi& api) { return api.Steer(spec); }));
           })
      .def("free_lease",
           [](Client& self, std::uint64_t lease, bool force) {
             Check(self.Ask([&](NodeApi& api) { return api.FreeLease(LeaseId(lease), force); }));
           })
      .def("on_domain", [](Client& self, std::string domain, std::string operation, std::string phase, std::string xml) {
        const control::DomainEvent event{std::move(domain), std::move(operation), std::move(phase), std::move(xml)};
        Check(self.Ask([&](NodeApi& api) { return api.OnDomain(event); }));
      });
}

}  // namespace

void BindClient(py::module_& module) {
  py::class_<Client> client(module, "Client");
  client.def(py::init<std::string, double>(), py::arg("socket"), py::arg("timeout"))
      .def("close", &Client::Close)
      .def_property_readonly("closed", &Client::closed)
      .def("events", [](Client& self, std::uint64_t since, bool follow) { return self.Follow({since, follow}); });
  BindOperations(client);
  BindQuestions(client);
}

}  // namespace heca::binding
