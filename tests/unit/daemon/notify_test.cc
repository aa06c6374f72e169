// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/notify.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/unique_fd.h"
#include "daemon/signals.h"
#include "support/temporary_directory.h"

namespace heca::daemon {
namespace {

TEST(Notify, NobodyWantsToKnow) {
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(Notify("READY=1").ok());
}

TEST(Notify, SendsOneDatagram) {
  const heca::testing::TemporaryDirectory root;
  const std::string path = root.path() + "/notify";
  unique_fd manager(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  ASSERT_EQ(::bind(manager.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  EXPECT_TRUE(Notify("READY=1").ok());
  char text[32] = {};
  EXPECT_EQ(::recv(manager.get(), text, sizeof text, MSG_DONTWAIT), 7);
  EXPECT_STREQ(text, "READY=1");
  manager.reset();
  EXPECT_FALSE(Notify("READY=1").ok()) << "nobody listens any more";
  ::unsetenv("NOTIFY_SOCKET");
}

TEST(StopSignals, HangupIsNoReasonToStop) {
  auto signals = StopSignals::Block();
  ASSERT_TRUE(signals.ok());
  ::raise(SIGHUP);
  ::raise(SIGTERM);
  const Result<int> got = signals->Wait();
  ASSERT_TRUE(got.ok());
  EXPECT_EQ(*got, SIGTERM);
}

}  // namespace
}  // namespace heca::daemon
