// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/preflight.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "base/check.h"
#include "base/unique_fd.h"
#include "node/run_lock.h"
#include "support/ending_process.h"
#include "support/temporary_directory.h"

namespace heca::daemon {
namespace {

using ::testing::HasSubstr;

TEST(Privilege, EachMissingCapabilityIsNamedWithItsPurpose) {
  EXPECT_TRUE(CheckPrivilege(~std::uint64_t{0}).ok());
  const Status none = CheckPrivilege(0);
  EXPECT_EQ(none.code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(
      none.message(),
      "missing privilege: CAP_DAC_OVERRIDE (to open RAM files and QMP sockets of the VMs' user, and "
      "/dev/userfaultfd), CAP_SYS_PTRACE (to take the userfaultfd of a VM), CAP_SYS_ADMIN (to look into "
      "/proc/PID/map_files). Run `systemctl start hecad`, or hecad as root; a node that only lends memory "
      "needs "
      "none of it: --compute off");
  const Status one = CheckPrivilege(~(std::uint64_t{1} << 19));
  EXPECT_THAT(std::string(one.message()),
              HasSubstr("missing privilege: CAP_SYS_PTRACE (to take the userfaultfd of a VM). Run"));
}

TEST(Privilege, OwnCapabilitiesCanBeRead) { EXPECT_TRUE(EffectiveCapabilities().ok()); }

TEST(Directory, IsMadeAndTried) {
  const heca::testing::TemporaryDirectory root;
  const std::string path = root.path() + "/a/b";
  ASSERT_TRUE(PrepareDirectory("run-dir", path).ok());
  struct stat made {};
  ASSERT_EQ(::stat(path.c_str(), &made), 0);
  EXPECT_EQ(made.st_mode & 07777U, 0750U);
  EXPECT_TRUE(PrepareDirectory("run-dir", path).ok()) << "a second time";
}

TEST(Directory, ThatCannotBeUsedIsRefusedWithKeyAndPath) {
  const heca::testing::TemporaryDirectory root;
  const std::string file = root.path() + "/file";
  std::ofstream(file) << "x";
  const Status status = PrepareDirectory("slab-dir", file + "/sub");
  EXPECT_EQ(status.message(), "slab-dir: cannot make " + file + "/sub: Not a directory (ENOTDIR)");
  // Nobody, not even root, makes files in /proc.
  const Status proc = PrepareDirectory("run-dir", "/proc/sys");
  EXPECT_FALSE(proc.ok());
  EXPECT_THAT(std::string(proc.message()), HasSubstr("run-dir: cannot write in /proc/sys: "));
}

/// Something that listens at a port of the loopback; at any that is free by default.
unique_fd ListenAt(in_port_t port = 0) {
  unique_fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  HECA_CHECK(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::listen(fd.get(), 1) == 0);
  return fd;
}

in_port_t PortOf(const unique_fd& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  HECA_CHECK(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return ntohs(address.sin_port);
}

TEST(Listen, BusyPortIsRefusedWithTheWayOut) {
  unique_fd other = ListenAt();
  const std::string port = std::to_string(PortOf(other));
  const Status status = CheckListen("data-listen", "127.0.0.1:" + port);
  EXPECT_EQ(status.code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "data-listen: 127.0.0.1:" + port +
                                  " is in use. See by whom: ss -ltnp 'sport = :" + port +
                                  "'; or give another port: --data-listen 127.0.0.1:PORT");
  other.reset();
  EXPECT_TRUE(CheckListen("data-listen", "127.0.0.1:" + port).ok());
}

TEST(Listen, ForeignAddressAndUnknownHost) {
  EXPECT_EQ(CheckListen("control-listen", "192.0.2.1:0").message(),
            "control-listen: 192.0.2.1:0 is not an address of this host. See which it has: ip addr");
  EXPECT_EQ(CheckListen("control-listen", "no such host:1").code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(CheckListen("control-listen", "127.0.0.1:0").ok());
}

/// A node that only lends; all that it listens at is one port of the loopback, 0: any.
Config LenderIn(const std::string& root, in_port_t port) {
  Config config;
  config.compute = false;
  config.donate = Bytes(64ULL << 20);
  config.run_dir = root + "/run";
  config.socket = root + "/socket/hecad.sock";
  config.slab_dir = root + "/slabs";
  config.control_listen = config.data_listen = config.metrics_listen = "127.0.0.1:" + std::to_string(port);
  return config;
}

TEST(Preflight, LooksAtWhatTheConfigurationNeeds) {
  const heca::testing::TemporaryDirectory root;
  Config config = LenderIn(root.path(), 0);
  EXPECT_TRUE(Preflight(config).ok());
  EXPECT_EQ(::access((root.path() + "/slabs").c_str(), F_OK), 0);
  config.metrics_listen = "192.0.2.1:9464";
  EXPECT_THAT(std::string(Preflight(config).message()), HasSubstr("metrics-listen: "));
}

/// It had its ports for as long as its lock, and a little less.
TEST(Preflight, AHecadThatTheKernelTakesApartIsWaitedForAndItsPortsAreFreeThen) {
  const heca::testing::TemporaryDirectory root;
  const in_port_t port = PortOf(ListenAt());
  const Config config = LenderIn(root.path(), port);
  const test::EndingProcess former(Millis(300), [&] {
    auto lock = node::LockDirectory(config.run_dir);
    return lock.ok() && lock->release() >= 0 && ListenAt(port).release() >= 0;
  });
  const Status ready = Preflight(config);
  EXPECT_TRUE(ready.ok()) << ready.message();
}

}  // namespace
}  // namespace heca::daemon
