// SPDX-License-Identifier: LGPL-2.1-or-later
// From what people say (a pid, a libvirt domain's name) to a process and its QMP socket. No libvirt client is needed:
// libvirt keeps NAME.pid, and the command line of QEMU says the rest. Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>

#include "guest/capture.h"
#include "heca/status.h"

namespace heca::guest {

/// Where libvirt's QEMU driver keeps its pid files.
inline constexpr const char* kLibvirtRunDir = "/run/libvirt/qemu";

struct GuestIdentity {
  ProcessId process;
  bool is_qemu = false;
  std::string name;      ///< of the domain, else of the program
  std::string uuid;      ///< may be empty
  std::string qmp_path;  ///< absolute; empty: this process has no QMP socket of its own for us
};

[[nodiscard]] Result<GuestIdentity> LookupPid(pid_t pid);

/// kNotFound: no running domain of that name, with what to check. The pid file is not trusted: the process must be a
/// QEMU that calls itself NAME.
[[nodiscard]] Result<GuestIdentity> LookupDomain(const std::string& name, const std::string& run_dir = kLibvirtRunDir);

}  // namespace heca::guest
