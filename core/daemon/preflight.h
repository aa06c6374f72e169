// SPDX-License-Identifier: LGPL-2.1-or-later
// What hecad needs from its host, looked at before anything is started, so that a refusal names the option
// and the remedy. Passing is no promise (another process may be faster); what is started later reports its
// own errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "daemon/config.h"
#include "heca/status.h"

namespace heca::daemon {

/// The effective capabilities of this process, as bits. kInternal if /proc does not tell.
[[nodiscard]] Result<std::uint64_t> EffectiveCapabilities();
/// kPermissionDenied, naming each capability that governing VMs needs and `effective` lacks, and what it is
/// for.
[[nodiscard]] Status CheckPrivilege(std::uint64_t effective);
/// Makes the directory (0750) if it is missing and checks that files can be made in it.
[[nodiscard]] Status PrepareDirectory(std::string_view key, const std::string& path);
/// kFailedPrecondition if something listens there already, kInvalidArgument if this host has no such address.
[[nodiscard]] Status CheckListen(std::string_view key, const std::string& address);

/// All of the above, as far as `config` needs it, after the hecad that used its run directory before.
[[nodiscard]] Status Preflight(const Config& config);

}  // namespace heca::daemon
