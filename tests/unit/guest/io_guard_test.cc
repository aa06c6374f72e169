// SPDX-License-Identifier: LGPL-2.1-or-later
// Each rule by what makes it speak. Targets are forked children with real files, rings and reads; a read of a pipe
// that stands still stands for a slow disk.
#include "guest/io_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>

#include "guest/direct_io.h"
#include "guest/virtio_idle.h"
#include "qemu_process.h"
#include "support/fake_qmp.h"

namespace heca::guest {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeQmp;
using testing::QemuProcess;
using testing::Return;

constexpr Nanos kForever = std::chrono::hours(1);  // a grace that no test waits for

Deadline Soon() { return Deadline::After(seconds(10)); }

bool DrainedSoon(IoGuard& guard, IoMark mark) {
  const Deadline deadline = Soon();
  while (!guard.Drained(mark)) {
    if (deadline.Passed()) return false;
    ::poll(nullptr, 0, guard.RecheckMs());
  }
  return true;
}

/// A child that runs one step whenever the test says so; each step is acknowledged.
class Target {
 public:
  explicit Target(std::function<void(int step)> run) {
    EXPECT_EQ(::pipe2(order_, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(done_, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(slow_, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int step = 0;; ++step) {
      pollfd wait{order_[0], POLLIN, 0};
      char byte = 0;
      // poll, so that the child sleeps outside of reads between its steps
      if (::poll(&wait, 1, -1) != 1 || ::read(order_[0], &byte, 1) != 1) ::_exit(1);
      run(step);
      if (::write(done_[1], "d", 1) != 1) ::_exit(1);
    }
  }
  ~Target() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    for (int* pair : {order_, done_, slow_}) {
      ::close(pair[0]);
      ::close(pair[1]);
    }
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  void StartStep() { EXPECT_EQ(::write(order_[1], "o", 1), 1); }
  void Step() {
    StartStep();
    char byte = 0;
    EXPECT_EQ(::read(done_[0], &byte, 1), 1);
    AwaitCall(SYS_poll);
  }
  void AwaitCall(long number) {
    const Deadline deadline = Soon();
    for (;;) {
      const auto call = os::ReadTaskSyscall(pid_, pid_);
      if (call.ok() && call->kind == os::TaskSyscall::Kind::kBlocked && call->number == number) return;
      ASSERT_FALSE(deadline.Passed());
      ::poll(nullptr, 0, 1);
    }
  }
  /// In the child: a read that lasts until EndSlowRead.
  static void SlowRead() {
    char byte = 0;
    if (::read(slow_[0], &byte, 1) != 1) ::_exit(1);
  }
  static void EndSlowRead() { EXPECT_EQ(::write(slow_[1], "s", 1), 1); }

 private:
  int order_[2];
  int done_[2];
  static inline int slow_[2];
  pid_t pid_ = -1;
};

/// Opens an unlinked file on a file system that knows O_DIRECT.
void OpenDirect() {
  const int fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_DIRECT, 0600);
  if (fd < 0) ::_exit(1);
}

TEST(JudgeDirectIoTest, KnowsTheSigns) {
  const auto direct = static_cast<std::uint64_t>(O_DIRECT);
  const auto judge = [](OpenFileFacts f) { return JudgeDirectIo({std::move(f)}, {}); };
  EXPECT_TRUE(judge({{3, "/d.img"}, 02, false}).None());
  EXPECT_TRUE(judge({{3, "pipe:[5]"}, direct, false}).None()) << "packet mode of a pipe";
  EXPECT_TRUE(judge({{3, "/d.img"}, direct | 02, false}).synchronous);
  EXPECT_FALSE(judge({{3, "/d.img"}, direct | 02, false}).asynchronous);
  EXPECT_TRUE(judge({{3, "anon_inode:[io_uring]"}, 02, false}).asynchronous);
  EXPECT_TRUE(judge({{3, "/dev/sg0"}, 02, false}).asynchronous);
  EXPECT_TRUE(judge({{3, "/dev/vda"}, 02, true}).asynchronous);
  EXPECT_TRUE(JudgeDirectIo({}, os::ParseMaps("1000-2000 rw-s 00000000 00:13 21806  /[aio] (deleted)\n")).asynchronous);
}

TEST(GuestIoGuardTest, NoneNeededUntilAFileIsOpenedDirectly) {
  Target target([](int step) {
    if (step == 0) OpenDirect();
  });
  IoGuardOptions options;
  options.grace = kForever;
  target.AwaitCall(SYS_poll);
  auto guard = GuestIoGuard::Create(target.pid(), nullptr, options);
  ASSERT_TRUE(guard.ok()) << guard.status().ToString();
  EXPECT_EQ((*guard)->Describe(), "none needed: no direct disk I/O");
  const IoMark first = (*guard)->Mark();
  EXPECT_TRUE(DrainedSoon(**guard, first));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kNone);
  target.Step();
  const IoMark second = (*guard)->Mark();
  EXPECT_LT(first, second);
  EXPECT_TRUE(DrainedSoon(**guard, second));  // the child sleeps outside of any read
  EXPECT_EQ((*guard)->LastRule(), IoRule::kReadsEnded);
  EXPECT_NE((*guard)->Describe().find("is open with O_DIRECT"), std::string::npos) << (*guard)->Describe();
  EXPECT_TRUE((*guard)->Drained(first)) << "once true, always true";
}

TEST(GuestIoGuardTest, AReadUnderWayHoldsTheMarkUntilItEnds) {
  Target target([](int step) {
    if (step == 0) OpenDirect();
    if (step == 1) Target::SlowRead();
  });
  target.Step();
  IoGuardOptions options;
  options.grace = kForever;
  options.look_interval = milliseconds(1);
  auto guard = GuestIoGuard::Create(target.pid(), nullptr, options);
  ASSERT_TRUE(guard.ok());
  target.StartStep();
  target.AwaitCall(SYS_read);
  const IoMark mark = (*guard)->Mark();
  const Deadline watch = Deadline::After(milliseconds(100));  // many looks; none may speak
  while (!watch.Passed()) {
    ASSERT_FALSE((*guard)->Drained(mark));
    ::poll(nullptr, 0, 2);
  }
  Target::EndSlowRead();
  EXPECT_TRUE(DrainedSoon(**guard, mark));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kReadsEnded);
}

TEST(GuestIoGuardTest, WithAnAioRingOnlyTheGraceSpeaks) {
  Target target([](int step) {
    aio_context_t ring = 0;
    if (step == 0 && ::syscall(SYS_io_setup, 8, &ring) != 0) ::_exit(1);
  });
  target.Step();
  IoGuardOptions options;
  options.grace = milliseconds(60);
  auto guard = GuestIoGuard::Create(target.pid(), nullptr, options);
  ASSERT_TRUE(guard.ok());
  const auto begin = Clock::now();
  const IoMark mark = (*guard)->Mark();
  EXPECT_FALSE((*guard)->Drained(mark));
  EXPECT_TRUE(DrainedSoon(**guard, mark));
  EXPECT_GE(Clock::now() - begin, milliseconds(60));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kGrace);
  EXPECT_EQ((*guard)->Describe(), "waits 60 ms: an AIO ring is mapped");
}

TEST(GuestIoGuardTest, AProcessThatEndsLeavesTheGrace) {
  auto target = std::make_unique<Target>([](int) {});
  IoGuardOptions options;
  options.grace = milliseconds(30);
  auto guard = GuestIoGuard::Create(target->pid(), nullptr, options);
  ASSERT_TRUE(guard.ok());
  target.reset();
  EXPECT_TRUE(DrainedSoon(**guard, (*guard)->Mark()));
  EXPECT_EQ(GuestIoGuard::Create(0x3ffffff0, nullptr, options).status().code(), ErrorCode::kNotFound);
}

TEST(GraceIoGuardTest, WaitsItsTime) {
  GraceIoGuard guard(milliseconds(20));
  const IoMark mark = guard.Mark();
  EXPECT_FALSE(guard.Drained(mark));
  EXPECT_TRUE(DrainedSoon(guard, mark));
  GraceIoGuard none{Nanos(0)};
  EXPECT_TRUE(none.Drained(none.Mark()));
}

TEST(ParseDisksTest, DirectByNodeByFileAndByBackingFile) {
  const Json nodes = Json::parse(R"([{"file":"/a","cache":{"direct":true}},{"file":"/b","cache":{"direct":false}}])");
  const Json blocks = Json::parse(R"([
    {"qdev":"sd","inserted":{"file":"/b","cache":{"direct":false},"image":{"filename":"/b"}}},
    {"qdev":"/machine/x","inserted":{"file":"/a","cache":{"direct":false}}},
    {"qdev":"y","inserted":{"file":"/b","cache":{"direct":true}}},
    {"qdev":"z","inserted":{"file":"/o","cache":{"direct":false},
                            "image":{"filename":"/o","backing-image":{"filename":"/a"}}}},
    {"qdev":"empty-cdrom"}, {"inserted":{"file":"/a"}}, 5])");
  const auto disks = ParseDisks(blocks, nodes);
  ASSERT_EQ(disks.size(), 4U);
  EXPECT_EQ(disks[0].device, "/machine/peripheral/sd");
  EXPECT_FALSE(disks[0].direct);
  EXPECT_TRUE(disks[1].direct && disks[2].direct && disks[3].direct);
}

/// A QEMU with one virtio-blk of two queues whose use the test sets.
class FakeQueues {
 public:
  std::array<std::atomic<int>, 2> in_use{};
  std::atomic<bool> ide_disk{false};
  std::atomic<int> questions{0};

  std::string Answer(const Json& r) {
    const std::string command = r["execute"];
    if (command == "x-query-virtio") {
      return Return(r, Json::array({{{"name", "virtio-blk"}, {"path", "/m/vb/virtio-backend"}},
                                    {{"name", "virtio-net"}, {"path", "/m/n/virtio-backend"}}}));
    }
    if (command == "query-block") {
      Json disk = {{"qdev", "/m/vb/virtio-backend"}, {"inserted", {{"file", "/d"}, {"cache", {{"direct", true}}}}}};
      Json list = Json::array({disk});
      if (ide_disk) {
        disk["qdev"] = "/m/ide";
        list.push_back(disk);
      }
      return Return(r, list);
    }
    if (command == "x-query-virtio-status") return Return(r, {{"num-vqs", 2}});
    if (command == "x-query-virtio-queue-status") {
      ++questions;
      return Return(r, {{"inuse", in_use[r["arguments"]["queue"].get<std::size_t>()].load()}});
    }
    if (command == "qom-get") return Return(r, "something");
    return Return(r, Json::array());
  }
};

TEST(VirtioIdleTest, QueuesNeedNotBeIdleTogether) {
  FakeQueues queues;
  FakeQmp server(testing::kGreeting, [&](const Json& r) { return queues.Answer(r); });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  VirtioIdle idle(**qmp);
  idle.Begin();
  queues.in_use[0] = 3;
  EXPECT_FALSE(idle.Look(Soon()).value());
  queues.in_use[0] = 0;
  queues.in_use[1] = 7;
  EXPECT_TRUE(idle.Look(Soon()).value()) << "queue 1 was seen idle before";
  idle.Begin();
  EXPECT_FALSE(idle.Look(Soon()).value()) << "a new proof begins at nothing";
  queues.ide_disk = true;
  const auto other = idle.Look(Soon());
  EXPECT_EQ(other.status().code(), ErrorCode::kUnsupported);
  EXPECT_NE(other.status().message().find("not virtio"), std::string_view::npos);
}

TEST(VirtioIdleTest, AnOldQemuCannotTell) {
  FakeQmp server(testing::kGreeting, [&](const Json& r) {
    if (r["execute"] == "qmp_capabilities") return Return(r);
    return Json{{"error", {{"class", "CommandNotFound"}, {"desc", "no"}}}, {"id", r["id"]}}.dump() + "\n";
  });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  EXPECT_EQ(VirtioIdle(**qmp).Look(Soon()).status().code(), ErrorCode::kUnsupported);
}

TEST(GuestIoGuardTest, AskingQemuReleasesAMarkWhenTheQueuesWereIdle) {
  Target target([](int step) {
    aio_context_t ring = 0;
    if (step == 0 && ::syscall(SYS_io_setup, 8, &ring) != 0) ::_exit(1);
  });
  target.Step();
  FakeQueues queues;
  FakeQmp server(testing::kGreeting, [&](const Json& r) { return queues.Answer(r); });
  auto qmp = Qmp::Connect(server.Path(), Soon());
  ASSERT_TRUE(qmp.ok());
  IoGuardOptions options;
  options.grace = kForever;
  options.ask_interval = milliseconds(1);
  auto guard = GuestIoGuard::Create(target.pid(), std::move(*qmp), options);
  ASSERT_TRUE(guard.ok());
  EXPECT_NE((*guard)->Describe().find("until the virtio queues were idle"), std::string::npos);
  queues.in_use[1] = 1;
  const IoMark mark = (*guard)->Mark();
  const int asked = queues.questions;
  const Deadline deadline = Soon();
  while (queues.questions < asked + 5 && !deadline.Passed()) {
    ASSERT_FALSE((*guard)->Drained(mark));
    ::poll(nullptr, 0, 1);
  }
  ASSERT_FALSE((*guard)->Drained(mark));
  queues.in_use[1] = 0;
  EXPECT_TRUE(DrainedSoon(**guard, mark));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kQueuesIdle);
}

/// What a restarted hecad does: it takes the region back without QEMU, and the monitor comes later.
TEST(GuestIoGuardTest, AMonitorThatComesLaterBringsTheQueuesRuleBack) {
  Target target([](int step) {
    aio_context_t ring = 0;
    if (step == 0 && ::syscall(SYS_io_setup, 8, &ring) != 0) ::_exit(1);
  });
  target.Step();
  FakeQueues queues;  // this and the servers outlive the guard, which keeps its connections
  FakeQmp first(testing::kGreeting, [&](const Json& r) -> std::string {
    return queues.in_use[0] == 99 ? "close" : queues.Answer(r);  // QEMU's end of the connection goes away
  });
  FakeQmp second(testing::kGreeting, [&](const Json& r) { return queues.Answer(r); });
  IoGuardOptions options;
  options.grace = kForever;
  options.ask_interval = milliseconds(1);
  auto guard = GuestIoGuard::Create(target.pid(), nullptr, options);
  ASSERT_TRUE(guard.ok());
  EXPECT_EQ((*guard)->Describe(), "waits 3600000 ms: an AIO ring is mapped");
  const IoMark before = (*guard)->Mark();
  EXPECT_FALSE((*guard)->Drained(before));

  const auto connect = [](const FakeQmp& server) {
    auto qmp = Qmp::Connect(server.Path(), Soon());
    EXPECT_TRUE(qmp.ok());
    return std::shared_ptr<Qmp>(std::move(*qmp));
  };
  (*guard)->UseMonitor(connect(first));
  EXPECT_TRUE(DrainedSoon(**guard, before)) << "a mark from before is proved by the new monitor";
  EXPECT_EQ((*guard)->LastRule(), IoRule::kQueuesIdle);
  EXPECT_NE((*guard)->Describe().find("until the virtio queues were idle"), std::string::npos) << (*guard)->Describe();

  queues.in_use[0] = 99;
  const IoMark between = (*guard)->Mark();
  const Deadline deadline = Soon();
  while ((*guard)->Describe().find("queues were idle") != std::string::npos) {
    ASSERT_FALSE(deadline.Passed()) << "a connection that is gone must not be named as a rule in force";
    ::poll(nullptr, 0, 1);
  }
  EXPECT_FALSE((*guard)->Drained(between));
  queues.in_use[0] = 0;
  (*guard)->UseMonitor(connect(second));
  EXPECT_TRUE(DrainedSoon(**guard, between));
  EXPECT_NE((*guard)->Describe().find("until the virtio queues were idle"), std::string::npos) << (*guard)->Describe();
}

TEST(GuestIoGuardQemuTest, BufferedDirectAndHotPlugged) {
  if (!QemuProcess::Installed()) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  auto options = testing::SharedRam();
  options.insert(options.end(), {"-device", "pcie-root-port,id=root1"});
  QemuProcess qemu(options);
  auto connected = qemu.Connect();
  ASSERT_TRUE(connected.ok()) << connected.status().ToString();
  const std::shared_ptr<Qmp> qmp = std::move(*connected);
  char disk[] = "/tmp/heca-disk-test-XXXXXX";
  const unique_fd file(::mkstemp(disk));
  ASSERT_EQ(::ftruncate(file.get(), 1 << 20), 0);
  IoGuardOptions guard_options;
  guard_options.grace = kForever;
  auto guard = GuestIoGuard::Create(qemu.Pid(), qmp, guard_options);
  ASSERT_TRUE(guard.ok()) << guard.status().ToString();
  EXPECT_EQ((*guard)->Describe(), "none needed: no direct disk I/O");
  EXPECT_TRUE(DrainedSoon(**guard, (*guard)->Mark()));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kNone);
  const auto added = qmp->Execute("blockdev-add",
                                     {{"driver", "file"}, {"filename", disk}, {"node-name", "d0"}, {"aio", "native"},
                                      {"cache", {{"direct", true}}}}, Soon());
  ::unlink(disk);
  ASSERT_TRUE(added.ok()) << added.status().ToString();
  const Json disk_device = {{"driver", "virtio-blk-pci"}, {"drive", "d0"}, {"bus", "root1"}, {"id", "vb"}};
  ASSERT_TRUE(qmp->Execute("device_add", disk_device, Soon()).ok());
  EXPECT_TRUE(DrainedSoon(**guard, (*guard)->Mark()));
  EXPECT_EQ((*guard)->LastRule(), IoRule::kQueuesIdle);
  EXPECT_NE((*guard)->Describe().find("virtio queues"), std::string::npos) << (*guard)->Describe();
}

}  // namespace
}  // namespace heca::guest
