// SPDX-License-Identifier: LGPL-2.1-or-later
// What this host can do, as far as it can be told without hecad: read-only looks at /proc, /sys, /dev and
// /etc.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "control/node_types.h"

namespace heca::cli {

/// `root` is "/", or a test's tree in its place. Never fails: what cannot be read is a verdict.
[[nodiscard]] std::vector<control::DoctorCheck> LocalChecks(const std::filesystem::path& root);

/// The checks of hecad, then those of `local` that hecad did not make.
[[nodiscard]] std::vector<control::DoctorCheck> MergeChecks(std::vector<control::DoctorCheck> hecad,
                                                            const std::vector<control::DoctorCheck>& local);

/// The worst verdict.
[[nodiscard]] control::Verdict WorstOf(const std::vector<control::DoctorCheck>& checks);

}  // namespace heca::cli
