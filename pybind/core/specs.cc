// SPDX-License-Identifier: LGPL-2.1-or-later
#include "specs.h"

#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/size.h"
#include "base/transport_choice.h"

namespace py = pybind11;

namespace heca::binding {
namespace {

Status Bad(std::string_view name, std::string_view why) {
  return Status(ErrorCode::kInvalidArgument, std::string(name).append(": ").append(why));
}

template <class T>
T Cast(std::string_view name, const py::handle& value) {
  try {
    return value.cast<T>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(name) + ": " + std::string(py::repr(value)) + " is not of the type that is wanted");
  }
}

template <class T>
T Get(const py::dict& words, const char* name) {
  return Cast<T>(name, words[name]);
}

/// None: not given.
template <class T, class Convert>
std::optional<T> Optional(const py::dict& words, const char* name, const Convert& convert) {
  const py::object value = words[name];
  if (value.is_none()) return std::nullopt;
  return convert(name, value);
}

Millis MillisOf(std::string_view name, const py::handle& value) {
  const auto number = Cast<std::int64_t>(name, value);
  if (number < 0) throw StatusError(Bad(name, std::to_string(number) + " is negative"));
  return Millis(number);
}

std::optional<Ratio> RatioOf(const py::dict& words) {
  return Optional<Ratio>(words, "ratio", [](const char* name, const py::object& value) {
    auto ratio = ParseRatio(Cast<std::string>(name, value));
    if (!ratio.ok()) throw StatusError(ratio.status().WithContext(name));
    return *ratio;
  });
}

}  // namespace

Bytes BytesOf(std::string_view name, const py::handle& value) {
  if (py::isinstance<py::str>(value)) {
    auto size = ParseSize(Cast<std::string>(name, value));
    if (!size.ok()) throw StatusError(size.status().WithContext(name));
    return *size;
  }
  if (!py::isinstance<py::int_>(value)) {
    throw py::type_error(std::string(name) + ": a size is a number of bytes or a text such as \"2GiB\"");
  }
  try {
    return Bytes(value.cast<std::uint64_t>());
  } catch (const py::cast_error&) {
    throw StatusError(Bad(name, std::string(py::str(value)) + " is no size"));
  }
}

control::AttachSpec AttachSpecOf(const py::dict& words) {
  control::AttachSpec spec;
  spec.region = Get<std::string>(words, "region");
  spec.pid = Get<std::int32_t>(words, "pid");
  spec.domain = Get<std::string>(words, "domain");
  spec.qmp_socket = Get<std::string>(words, "qmp_socket");
  const auto mapping = words["mapping"].cast<py::tuple>();
  spec.mapping = {mapping[0].cast<std::string>(), mapping[1].cast<std::uint64_t>(), mapping[2].cast<std::uint64_t>(),
                  mapping[3].cast<std::uint64_t>()};
  spec.local_limit = Optional<Bytes>(words, "local", BytesOf);
  spec.ratio = RatioOf(words);
  spec.sponsors = Get<std::vector<std::string>>(words, "sponsors");
  spec.replicas = Get<std::uint32_t>(words, "replicas");
  spec.page_loss = EnumOf<control::PageLoss>("on_loss", Get<std::string>(words, "on_loss"));
  spec.transport = EnumOf<TransportChoice>("transport", Get<std::string>(words, "transport"));
  for (auto& [name, value] : Get<std::map<std::string, std::string>>(words, "options")) {
    spec.options.emplace_back(name, std::move(value));
  }
  return spec;
}

control::MigrateSpec MigrateSpecOf(const py::dict& words) {
  control::MigrateSpec spec;
  spec.pid = Get<std::int32_t>(words, "pid");
  spec.domain = Get<std::string>(words, "domain");
  spec.qmp_socket = Get<std::string>(words, "qmp_socket");
  spec.destination = Get<std::string>(words, "destination");
  spec.destination_pid = Get<std::int32_t>(words, "destination_pid");
  spec.destination_qmp = Get<std::string>(words, "destination_qmp");
  spec.uri = Get<std::string>(words, "uri");
  spec.mode = EnumOf<control::MigrationMode>("mode", Get<std::string>(words, "mode"));
  spec.downtime_goal = MillisOf("downtime_goal_ms", words["downtime_goal_ms"]);
  spec.bandwidth = BytesOf("bandwidth", words["bandwidth"]).value();
  return spec;
}

control::SteerSpec SteerSpecOf(const py::dict& words) {
  control::SteerSpec spec;
  spec.region = Get<std::string>(words, "region");
  spec.switch_now = Get<bool>(words, "switch_now");
  spec.bandwidth = Optional<std::uint64_t>(
      words, "bandwidth", [](const char* name, const py::object& value) { return BytesOf(name, value).value(); });
  spec.mode = Optional<control::MigrationMode>(words, "mode", [](const char* name, const py::object& value) {
    return EnumOf<control::MigrationMode>(name, Cast<std::string>(name, value));
  });
  spec.downtime_goal = Optional<Millis>(words, "downtime_goal_ms", MillisOf);
  return spec;
}

}  // namespace heca::binding
