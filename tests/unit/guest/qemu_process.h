// SPDX-License-Identifier: LGPL-2.1-or-later
// Starts a stock QEMU without a guest (-S) for the tests, and ends it. Its files lie in a directory of its own.
#pragma once

#include <string>
#include <vector>

#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::guest::testing {

/// libvirt's sandbox string: capture must get by with it.
inline constexpr const char* kSandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

class QemuProcess {
 public:
  /// Options beside the defaults (TCG, no devices, no display, QMP, -S). "@DIR@" in them becomes Dir(), a tmpfs.
  /// `unprivileged`: as user 65534.
  explicit QemuProcess(std::vector<std::string> options, bool unprivileged = false);
  ~QemuProcess();
  QemuProcess(const QemuProcess&) = delete;
  QemuProcess& operator=(const QemuProcess&) = delete;

  /// Empty where QEMU is not installed or did not start: the caller skips or fails with it.
  [[nodiscard]] const std::string& Error() const { return error_; }
  [[nodiscard]] pid_t Pid() const { return pid_; }
  [[nodiscard]] const std::string& Dir() const { return dir_; }
  [[nodiscard]] std::string SocketPath() const { return dir_ + "/qmp.sock"; }
  /// A connection, made with a deadline of ten seconds.
  [[nodiscard]] Result<std::unique_ptr<Qmp>> Connect() const;
  void Kill();

  /// True where the program is there.
  static bool Installed();

 private:
  std::string dir_;
  std::string error_;
  pid_t pid_ = -1;
};

/// One block "ram" of 64 MiB shared tmpfs memory: the options of most tests.
std::vector<std::string> SharedRam(const std::string& more_of_the_backend = "");

}  // namespace heca::guest::testing
