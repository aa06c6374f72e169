// SPDX-License-Identifier: LGPL-2.1-or-later
// Against a scripted server, for what a QEMU does not do on request, and against a real QEMU.
#include "guest/qmp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>

#include "qemu_process.h"
#include "support/fake_qmp.h"

namespace heca::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeQmp;
using testing::kGreeting;
using testing::Return;

Deadline Soon() { return Deadline::After(seconds(10)); }

TEST(QmpTest, NegotiatesAndTellsTheVersion) {
  FakeQmp server(kGreeting, [](const Json& r) { return Return(r, {{"asked", r["execute"]}}); });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  EXPECT_EQ((*qmp)->Version(), 70222);
  EXPECT_EQ((*qmp)->Execute("query-status", {}, Soon()).value()["asked"], "query-status");
}

TEST(QmpTest, ErrorsKeepQemusText) {
  FakeQmp server(kGreeting, [](const Json& r) {
    if (r["execute"] == "qmp_capabilities") return Return(r);
    const char* kind = r["execute"] == "nope" ? "CommandNotFound" : "GenericError";
    return Json{{"error", {{"class", kind}, {"desc", "no luck"}}}, {"id", r["id"]}}.dump() + "\r\n";
  });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  EXPECT_EQ((*qmp)->Execute("nope", {}, Soon()).status().code(), ErrorCode::kNotFound);
  const auto failed = (*qmp)->Execute("stop", {}, Soon());
  EXPECT_EQ(failed.status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_NE(failed.status().message().find("no luck"), std::string_view::npos);
}

TEST(QmpTest, ALateAnswerIsDroppedAndTheNextOneIsRight) {
  std::string held;
  FakeQmp server(kGreeting, [&](const Json& r) {
    if (r["execute"] == "slow") {
      held = Return(r, "late");
      return std::string();
    }
    return std::exchange(held, "") + Return(r, r["execute"]);
  });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  const auto slow = (*qmp)->Execute("slow", {}, Deadline::After(milliseconds(20)));
  EXPECT_EQ(slow.status().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ((*qmp)->Execute("next", {}, Soon()).value(), "next");
}

TEST(QmpTest, EventsComeInOrderAndAListenerMayExecute) {
  FakeQmp server(kGreeting, [](const Json& r) {
    return R"({"event": "STOP", "timestamp": {}})" "\r\n" R"({"event": "RESUME", "data": {"n": 1}})" "\r\n" + Return(r);
  });
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> seen;
  Qmp* raw = nullptr;
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  raw = qmp->get();
  raw->AddListener([&](const QmpEvent& event) {
    if (event.name == "RESUME" && seen.size() < 2) {
      EXPECT_TRUE(raw->Execute("x", {}, Soon()).ok());
    }
    const std::lock_guard lock(mutex);
    seen.push_back(event.name);
    changed.notify_all();
  });
  ASSERT_TRUE(raw->Execute("y", {}, Soon()).ok());
  std::unique_lock lock(mutex);
  ASSERT_TRUE(changed.wait_for(lock, seconds(10), [&] { return seen.size() >= 4; }));
  EXPECT_NE(std::find(seen.begin(), seen.end(), "STOP"), seen.end());
  EXPECT_NE(std::find(seen.begin(), seen.end(), "RESUME"), seen.end());
}

TEST(QmpTest, AClosedConnectionFailsWaitersAtOnce) {
  FakeQmp server(kGreeting, [](const Json& r) {
    return r["execute"] == "quit" ? std::string("close") : Return(r);
  });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  EXPECT_EQ((*qmp)->Execute("quit", {}, Soon()).status().code(), ErrorCode::kUnavailable);
  EXPECT_FALSE((*qmp)->Connected());
  EXPECT_EQ((*qmp)->Execute("x", {}, Soon()).status().code(), ErrorCode::kUnavailable);
}

TEST(QmpTest, NoSocketNoGreetingAndNoQmp) {
  EXPECT_EQ(Qmp::Connect("/nonexistent/qmp.sock", Soon()).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(Qmp::Connect(std::string(200, 'x'), Soon()).status().code(), ErrorCode::kInvalidArgument);
  FakeQmp silent("\n", [](const Json&) { return std::string(); });
  EXPECT_EQ(Qmp::Connect(silent.Path(), Deadline::After(milliseconds(30))).status().code(),
            ErrorCode::kDeadlineExceeded);
  FakeQmp babble("not json\r\n[1,2]\r\n{}\r\n{\"event\": 5}\r\n", [](const Json&) { return std::string("x\n"); });
  EXPECT_EQ(Qmp::Connect(babble.Path(), Deadline::After(milliseconds(30))).status().code(),
            ErrorCode::kDeadlineExceeded);
}

TEST(QmpQemuTest, PassesADescriptorAndServesOneClient) {
  if (!testing::QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  testing::QemuProcess qemu(testing::SharedRam());
  auto qmp = qemu.Connect();
  ASSERT_TRUE(qmp.ok()) << qmp.status().ToString();
  const unique_fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE((*qmp)->Execute("getfd", {{"fdname", "heca-test"}}, Soon(), null.get()).ok());
  EXPECT_TRUE((*qmp)->Execute("closefd", {{"fdname", "heca-test"}}, Soon()).ok());
  EXPECT_FALSE((*qmp)->Execute("closefd", {{"fdname", "heca-test"}}, Soon()).ok());
  EXPECT_NE((*qmp)->HumanCommand("info status", Soon()).value().find("prelaunch"), std::string::npos);
  const auto second = Qmp::Connect(qemu.SocketPath(), Deadline::After(milliseconds(50)));
  EXPECT_EQ(second.status().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_NE(second.status().message().find("one client"), std::string_view::npos);
}

}  // namespace
}  // namespace heca::guest
