// SPDX-License-Identifier: LGPL-2.1-or-later
// What hecad tells, as the dataclasses of heca/values.py: sizes and durations as whole numbers, times in UTC, enumerations as
// their words. With the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <variant>
#include <vector>

#include "control/migration_types.h"
#include "control/node_types.h"
#include "control/region_stats.h"
#include "control/sponsor_api.h"

namespace heca::binding {

[[nodiscard]] pybind11::object ToPython(const control::Progress& progress);
[[nodiscard]] pybind11::object ToPython(const control::NodeInfo& node);
[[nodiscard]] pybind11::object ToPython(const control::PeerInfo& peer);
[[nodiscard]] pybind11::object ToPython(const control::ConnectionInfo& connection);
[[nodiscard]] pybind11::object ToPython(const control::BlockInfo& block);
[[nodiscard]] pybind11::object ToPython(const control::StoreInfo& store);
[[nodiscard]] pybind11::object ToPython(const control::RegionInfo& region);
[[nodiscard]] pybind11::object ToPython(const control::DoctorCheck& check);
[[nodiscard]] pybind11::object ToPython(const control::Event& event);
[[nodiscard]] pybind11::object ToPython(const control::LeaseInfo& lease);
[[nodiscard]] pybind11::object ToPython(const control::MigrationSummary& summary);
[[nodiscard]] pybind11::object ToPython(const control::MigrationInfo& migration);
[[nodiscard]] pybind11::object ToPython(const control::RegionStats& stats);
[[nodiscard]] inline pybind11::object ToPython(std::monostate /*nothing*/) { return pybind11::none(); }

template <class T>
[[nodiscard]] pybind11::tuple ToPython(const std::vector<T>& values) {
  pybind11::tuple made(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) made[i] = ToPython(values[i]);
  return made;
}

/// `words()`: for each enumeration all its words but "invalid", in their order.
void BindWords(pybind11::module_& module);

}  // namespace heca::binding
