// SPDX-License-Identifier: LGPL-2.1-or-later
// A network of the test's own, whose only link can be cut: a network namespace with a loopback device.
#pragma once

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "base/check.h"
#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::test_support {

/// Sets a device of the calling thread's network up or down. Down, packets vanish without a word.
inline Status SetLink(const std::string& name, bool up) {
  const unique_fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return Status::FromErrno(errno, "socket");
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  request.ifr_flags = up ? IFF_UP | IFF_RUNNING : 0;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &request) != 0) return Status::FromErrno(errno, "SIOCSIFFLAGS " + name);
  return {};
}

/// Of one thread: a device that it has set down is up again when this goes.
class LinkCut {
 public:
  LinkCut() = default;
  ~LinkCut() { HECA_CHECK(name_.empty() || SetLink(name_, true).ok()); }
  LinkCut(const LinkCut&) = delete;
  LinkCut& operator=(const LinkCut&) = delete;
  Status Cut(const std::string& name) {
    name_ = name;
    return SetLink(name, false);
  }

 private:
  std::string name_;
};

/// Moves the calling thread, and the threads that it starts from now on, into a new network with its link up. Needs
/// root.
inline Status EnterPrivateNetwork() {
  if (::unshare(CLONE_NEWNET) != 0) return Status::FromErrno(errno, "unshare(CLONE_NEWNET)");
  return SetLink("lo", true);
}

}  // namespace heca::test_support
