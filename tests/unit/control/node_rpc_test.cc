// SPDX-License-Identifier: LGPL-2.1-or-later
// NodeClient and LocalServer, with real gRPC over a real unix socket.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "control/local_server.h"
#include "control/node_client.h"
#include "support/fake_node.h"
#include "support/node_samples.h"
#include "support/temporary_directory.h"
#include "unit/control/sinks.h"

namespace heca::control {
namespace {

using std::chrono::seconds;

/// Accepts connections (the kernel does) and never answers.
class SilentServer {
 public:
  explicit SilentServer(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_.get(), 8), 0);
  }

 private:
  unique_fd fd_;
};

class NodeRpc : public ::testing::Test {
 protected:
  void SetUp() override {
    StartServer();
    client_ = Client({});
  }
  void StartServer() {
    auto server = LocalServer::Start({.socket_path = socket_path_, .mode = 0600, .group = ""}, node_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(server).value();
  }
  std::unique_ptr<NodeClient> Client(NodeClientOptions options) {
    options.socket_path = socket_path_;
    return NodeClient::Create(options).value();
  }
  static AttachSpec Spec(std::int32_t pid = 42) {
    AttachSpec spec;
    spec.pid = pid;
    return spec;
  }
  /// Waits until `condition` holds.
  template <class Condition>
  static bool Eventually(const Condition& condition) {
    const Deadline deadline = Deadline::After(seconds(10));
    while (!condition()) {
      if (deadline.Passed()) return false;
      std::this_thread::yield();
    }
    return true;
  }

  testing::TemporaryDirectory directory_;
  const std::string socket_path_ = directory_.path() + "/hecad.sock";
  testing::FakeNode node_;
  std::unique_ptr<LocalServer> server_;
  std::unique_ptr<NodeClient> client_;
};

TEST_F(NodeRpc, AttachCarriesTheWholeSpecification) {
  AttachSpec spec;
  spec.region = "vm-1";
  spec.domain = "web";
  spec.qmp_socket = "/run/qmp.sock";
  spec.mapping = {"/dev/shm/x", 77, 0x1000, 0x2000};
  spec.ratio = Ratio{1, 3};
  spec.sponsors = {"m1", "10.0.0.2:7301"};
  spec.replicas = 2;
  spec.page_loss = PageLoss::kPoison;
  spec.transport = TransportChoice::kRdma;
  spec.options = {{"prefetch", "off"}};
  RecordingProgress progress;
  const auto region = client_->Attach(spec, progress);
  ASSERT_TRUE(region.ok()) << region.status().ToString();
  EXPECT_EQ(region->name, "vm-1");
  EXPECT_EQ(region->page_loss, PageLoss::kPoison);
  EXPECT_EQ(region->state, RegionState::kActive);

  const AttachSpec seen = node_.last_spec().value();
  EXPECT_EQ(seen.region, spec.region);
  EXPECT_EQ(seen.pid, 0);
  EXPECT_EQ(seen.domain, spec.domain);
  EXPECT_EQ(seen.qmp_socket, spec.qmp_socket);
  EXPECT_EQ(seen.mapping.path, spec.mapping.path);
  EXPECT_EQ(seen.mapping.inode, spec.mapping.inode);
  EXPECT_EQ(seen.mapping.address_begin, spec.mapping.address_begin);
  EXPECT_EQ(seen.mapping.address_end, spec.mapping.address_end);
  EXPECT_FALSE(seen.local_limit.has_value());
  ASSERT_TRUE(seen.ratio.has_value());
  EXPECT_EQ(seen.ratio->local, 1U);
  EXPECT_EQ(seen.ratio->remote, 3U);
  EXPECT_EQ(seen.sponsors, spec.sponsors);
  EXPECT_EQ(seen.replicas, 2U);
  EXPECT_EQ(seen.page_loss, PageLoss::kPoison);
  EXPECT_EQ(seen.transport, TransportChoice::kRdma);
  EXPECT_EQ(seen.options, spec.options);
}

TEST_F(NodeRpc, BadSpecificationsAreRefusedBeforeTheyReachTheNode) {
  RecordingProgress progress;
  AttachSpec both = Spec();
  both.domain = "web";
  AttachSpec negative = Spec(-5);
  AttachSpec name = Spec();
  name.region = "no spaces please";
  AttachSpec two_limits = Spec();
  two_limits.local_limit = Bytes(1);
  two_limits.ratio = Ratio{1, 1};
  AttachSpec empty_ratio = Spec();
  empty_ratio.ratio = Ratio{0, 3};
  AttachSpec range = Spec();
  range.mapping = {"", 0, 2, 1};
  AttachSpec policy = Spec();
  policy.page_loss = static_cast<PageLoss>(99);
  AttachSpec transport = Spec();
  transport.transport = static_cast<TransportChoice>(99);
  for (const AttachSpec& spec : {AttachSpec(), both, negative, name, two_limits, empty_ratio, range, policy, transport}) {
    EXPECT_EQ(client_->Attach(spec, progress).status().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(client_->Limit("", Bytes(1), progress).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Detach("a/b", progress).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->FreeLease(LeaseId(0), true).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Resolve("a/b", LostPages::kZero).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Resolve("vm", LostPages::kInvalid).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Resolve("vm", static_cast<LostPages>(99)).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(node_.last_resolve(), LostPages::kInvalid);
  EXPECT_FALSE(node_.last_spec().has_value());
}

TEST_F(NodeRpc, MigrateCarriesTheWholeSpecificationAndTheSummary) {
  node_.Play(testing::FakeNode::Steps(10));
  node_.migrated.total = Millis(1);
  node_.migrated.downtime = Nanos(2);
  node_.migrated.memory = Bytes(3);
  node_.migrated.moved = Bytes(4);
  node_.migrated.zero = Bytes(5);
  node_.migrated.faults = 6;
  node_.migrated.fault_p50 = Nanos(7);
  node_.migrated.fault_p99 = Nanos(8);
  node_.migrated.ahead = Bytes(9);
  node_.migrated.rounds = 10;
  node_.migrated.blocked = Nanos(9);
  node_.migrated.blocktime = Blocktime{{Nanos(5), Nanos(6)}, Nanos(4), Nanos(3)};
  MigrateSpec spec;
  spec.pid = 42;
  spec.qmp_socket = "/run/qmp.sock";
  spec.destination = "10.1.0.3:7301";
  spec.destination_pid = 43;
  spec.destination_qmp = "/run/qmp2.sock";
  spec.uri = "tcp:10.1.0.3:4444";
  spec.downtime_goal = Millis(50);
  spec.bandwidth = 1 << 20;
  for (const MigrationMode mode : {MigrationMode::kPostCopy, MigrationMode::kHybrid, MigrationMode::kPreCopy}) {
    spec.mode = mode;
    RecordingProgress progress;
    const auto summary = client_->Migrate(spec, progress);
    ASSERT_TRUE(summary.ok()) << summary.status().ToString();
    EXPECT_EQ(progress.seen.back().done, 10U);
    EXPECT_EQ(summary->region, "pid-42");
    EXPECT_EQ(summary->mode, mode);
    EXPECT_EQ(summary->total, Millis(1));
    EXPECT_EQ(summary->downtime, Nanos(2));
    EXPECT_EQ(summary->memory, Bytes(3));
    EXPECT_EQ(summary->moved, Bytes(4));
    EXPECT_EQ(summary->zero, Bytes(5));
    EXPECT_EQ(summary->faults, 6U);
    EXPECT_EQ(summary->fault_p50, Nanos(7));
    EXPECT_EQ(summary->fault_p99, Nanos(8));
    EXPECT_EQ(summary->ahead, Bytes(9));
    EXPECT_EQ(summary->rounds, 10U);
    EXPECT_EQ(summary->blocked, Nanos(9));
    EXPECT_EQ(summary->blocktime, node_.migrated.blocktime);
    const MigrateSpec seen = node_.last_migration().value();
    EXPECT_EQ(seen.pid, spec.pid);
    EXPECT_EQ(seen.domain, "");
    EXPECT_EQ(seen.qmp_socket, spec.qmp_socket);
    EXPECT_EQ(seen.destination, spec.destination);
    EXPECT_EQ(seen.destination_pid, spec.destination_pid);
    EXPECT_EQ(seen.destination_qmp, spec.destination_qmp);
    EXPECT_EQ(seen.uri, spec.uri);
    EXPECT_EQ(seen.mode, mode);
    EXPECT_EQ(seen.downtime_goal, spec.downtime_goal);
    EXPECT_EQ(seen.bandwidth, spec.bandwidth);
  }
}

TEST_F(NodeRpc, MigrationsAreListed) {
  EXPECT_TRUE(client_->Migrations().value().empty());
  MigrationInfo second;
  second.domain = "vm2";
  node_.migrations = [&] { return std::vector{testing::SampleDeparture(), second}; };
  const auto seen = client_->Migrations();
  ASSERT_TRUE(seen.ok()) << seen.status().ToString();
  ASSERT_EQ(seen->size(), 2U);
  EXPECT_EQ(seen->front().image, testing::SampleDeparture().image);
  EXPECT_EQ(seen->back().domain, "vm2");
  node_.FailWith(Status(ErrorCode::kInternal, "no"));
  EXPECT_EQ(client_->Migrations().status().code(), ErrorCode::kInternal);
}

TEST_F(NodeRpc, SteerCarriesWhatIsToChangeAndNothingElse) {
  ASSERT_TRUE(client_->Steer({.region = "vm1", .switch_now = true}).ok());
  EXPECT_TRUE(node_.last_steer()->switch_now);
  EXPECT_EQ(node_.last_steer()->bandwidth, std::nullopt);
  EXPECT_EQ(node_.last_steer()->mode, std::nullopt);
  EXPECT_EQ(node_.last_steer()->downtime_goal, std::nullopt);
  ASSERT_TRUE(client_->Steer({.region = "vm1", .bandwidth = 0, .mode = MigrationMode::kHybrid, .downtime_goal = Millis(7)}).ok());
  EXPECT_FALSE(node_.last_steer()->switch_now);
  EXPECT_EQ(node_.last_steer()->bandwidth, 0U);
  EXPECT_EQ(node_.last_steer()->mode, MigrationMode::kHybrid);
  EXPECT_EQ(node_.last_steer()->downtime_goal, Millis(7));
  EXPECT_EQ(client_->Steer({.region = "a/b", .switch_now = true}).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Steer({.region = "vm1", .mode = static_cast<MigrationMode>(9)}).code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client_->Steer({.region = "vm1", .downtime_goal = Millis(0)}).code(), ErrorCode::kInvalidArgument);
}

TEST_F(NodeRpc, BadMigrationsAreRefusedBeforeTheyReachTheNode) {
  MigrateSpec good;
  good.domain = "web";
  good.destination = "m1";
  MigrateSpec both = good;
  both.pid = 42;
  MigrateSpec none = good;
  none.domain.clear();
  MigrateSpec negative = none;
  negative.pid = -1;
  MigrateSpec nowhere = good;
  nowhere.destination.clear();
  MigrateSpec command = good;
  command.uri = "exec:true";
  MigrateSpec pid_there = good;
  pid_there.destination_pid = -1;
  MigrateSpec path = good;
  path.destination_qmp.assign(4096, 'x');
  MigrateSpec mode = good;
  mode.mode = static_cast<MigrationMode>(99);
  MigrateSpec no_downtime = good;
  no_downtime.downtime_goal = Millis(0);
  MigrateSpec long_downtime = good;
  long_downtime.downtime_goal = Millis(2'000'001);
  RecordingProgress progress;
  for (const MigrateSpec& spec : {both, none, negative, nowhere, command, pid_there, path, mode, no_downtime,
                                  long_downtime}) {
    EXPECT_EQ(client_->Migrate(spec, progress).status().code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_FALSE(node_.last_migration().has_value());
  EXPECT_TRUE(client_->Migrate(good, progress).ok());
}

TEST_F(NodeRpc, AMigrationThatIsCancelledSaysSo) {
  node_.Play(testing::FakeNode::UntilCancelled);
  MigrateSpec spec;
  spec.domain = "web";
  spec.destination = "m1";
  RecordingProgress progress;
  progress.cancel_when = [](const RecordingProgress& sink) { return sink.seen.size() >= 2; };
  EXPECT_EQ(client_->Migrate(spec, progress).status().code(), ErrorCode::kAborted);
}

TEST_F(NodeRpc, LimitAndDetachReportProgressAndTheNewestIsNeverLost) {
  RecordingProgress progress;
  ASSERT_TRUE(client_->Attach(Spec(), progress).ok());
  node_.Play(testing::FakeNode::Steps(1000));
  progress.seen.clear();
  const auto region = client_->Limit("pid-42", Bytes(4096), progress);
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->limit, Bytes(4096));
  ASSERT_FALSE(progress.seen.empty());
  EXPECT_LT(progress.seen.size(), 100U) << "progress is thinned out";
  EXPECT_EQ(progress.seen.back().done, 1000U);
  EXPECT_EQ(progress.seen.back().total, 1000U);
  EXPECT_EQ(progress.seen.back().phase, "write-back");
  EXPECT_TRUE(client_->Detach("pid-42", progress).ok());
  EXPECT_TRUE(client_->Regions()->empty());
  EXPECT_EQ(client_->Detach("pid-42", progress).code(), ErrorCode::kNotFound);
}

TEST_F(NodeRpc, ResolveCarriesWhatWasSaid) {
  RecordingProgress progress;
  ASSERT_TRUE(client_->Attach(Spec(), progress).ok());
  for (const LostPages how : {LostPages::kAskAgain, LostPages::kPoison, LostPages::kZero}) {
    const auto region = client_->Resolve("pid-42", how);
    ASSERT_TRUE(region.ok()) << region.status().ToString();
    EXPECT_EQ(region->name, "pid-42");
    EXPECT_EQ(node_.last_resolve(), how);
  }
  EXPECT_EQ(client_->Resolve("other", LostPages::kZero).status().code(), ErrorCode::kNotFound);
}

TEST_F(NodeRpc, AClientThatCancelsStopsTheOperation) {
  Status at_node;
  node_.Play([&](ProgressSink& sink) { return at_node = testing::FakeNode::UntilCancelled(sink); });
  RecordingProgress progress;
  progress.cancel_when = [](const RecordingProgress& sink) { return sink.seen.size() >= 2; };
  const auto start = Clock::now();
  EXPECT_EQ(client_->Attach(Spec(), progress).status().code(), ErrorCode::kAborted);
  EXPECT_LT(Clock::now() - start, seconds(5));
  server_->Stop(Deadline::After(seconds(5)));  // waits for the operation
  EXPECT_EQ(at_node.code(), ErrorCode::kAborted);
}

TEST_F(NodeRpc, AQuestionThatTheCallerGivesUpEnds) {
  const std::string path = directory_.path() + "/silent.sock";
  const SilentServer silent(path);
  std::atomic<int> asked{0};
  NodeClientOptions options{.socket_path = path, .call_timeout = seconds(30)};
  const auto caller = std::this_thread::get_id();
  options.cancelled = [&] {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    return ++asked >= 3;
  };
  const auto client = NodeClient::Create(options).value();
  const auto start = Clock::now();
  const Status status = client->About().status();
  EXPECT_EQ(status.code(), ErrorCode::kAborted) << status.ToString();
  EXPECT_EQ(asked, 3) << "asked until it says so, and no more";
  EXPECT_LT(Clock::now() - start, seconds(2));
}

TEST_F(NodeRpc, AQuestionThatNobodyGivesUpIsAnswered) {
  const auto client = Client({.cancelled = [] { return false; }});
  EXPECT_TRUE(client->About().ok());
  node_.FailWith(Status(ErrorCode::kNotFound, "not here", ErrorScope::kRegion));
  EXPECT_EQ(client->Regions().status().code(), ErrorCode::kNotFound);
}

TEST_F(NodeRpc, AServerThatStopsCancelsItsOperations) {
  std::atomic<bool> running{false};
  node_.Play([&](ProgressSink& sink) {
    running = true;
    return testing::FakeNode::UntilCancelled(sink);
  });
  Status at_client;
  std::thread caller([&] {
    RecordingProgress progress;
    at_client = client_->Attach(Spec(), progress).status();
  });
  EXPECT_TRUE(Eventually([&] { return running.load(); }));
  const auto start = Clock::now();
  server_->Stop(Deadline::After(Millis(100)));
  EXPECT_LT(Clock::now() - start, seconds(5));
  caller.join();
  EXPECT_FALSE(at_client.ok());
}

TEST_F(NodeRpc, ALongOperationThatSaysNothingIsWaitedFor) {
  auto client = Client({.socket_path = "", .call_timeout = seconds(1), .silence_timeout = Millis(2'500)});
  node_.Play([](ProgressSink& sink) {
    std::mutex mutex;
    std::condition_variable never;
    std::unique_lock lock(mutex);
    const Deadline until = Deadline::After(Millis(3'500));
    while (!until.Passed() && !sink.Cancelled()) never.wait_for(lock, until.Left());
    return Status();
  });
  RecordingProgress progress;
  EXPECT_TRUE(client->Attach(Spec(), progress).ok());
  EXPECT_TRUE(progress.seen.empty()) << "signs of life are no progress";
}

TEST_F(NodeRpc, EveryErrorCrosses) {
  RecordingProgress progress;
  RecordingEvents events;
  for (int code = 1; code <= static_cast<int>(ErrorCode::kInternal); ++code) {
    const Status sent(static_cast<ErrorCode>(code), "why", ErrorScope::kReplica, ENOMEM);
    node_.FailWith(sent);
    for (const Status& status :
         {client_->About().status(), client_->Attach(Spec(), progress).status(), client_->Events({}, events)}) {
      EXPECT_EQ(status.code(), sent.code());
      EXPECT_EQ(status.scope(), sent.scope());
      EXPECT_EQ(status.sys_errno(), sent.sys_errno());
      EXPECT_EQ(status.message(), sent.message());
    }
  }
}

TEST_F(NodeRpc, EventsComeInOrderAndFollowingEndsOnDemand) {
  for (int i = 1; i <= 3; ++i) {
    Event event;
    event.severity = Severity::kWarning;
    event.kind = EventKind::kVmStopped;
    event.region = "vm";
    event.text = "stopped \xff";  // a byte that is no UTF-8 must not lose the event
    event.values = {{"n", std::to_string(i)}};
    node_.Tell(event);
  }
  RecordingEvents past;
  EXPECT_TRUE(client_->Events({.since = 1, .follow = false}, past).ok());
  ASSERT_EQ(past.seen.size(), 2U);
  EXPECT_EQ(past.seen[0].sequence, 2U);
  EXPECT_EQ(past.seen[0].kind, EventKind::kVmStopped);
  EXPECT_EQ(past.seen[0].severity, Severity::kWarning);
  EXPECT_EQ(past.seen[0].text, "stopped ?");
  EXPECT_EQ(past.seen[1].values[0].second, "3");
  EXPECT_LT(std::chrono::system_clock::now() - past.seen[1].time, seconds(60));

  RecordingEvents four(4);
  std::thread follower([&] { EXPECT_TRUE(client_->Events({.since = 0, .follow = true}, four).ok()); });
  EXPECT_TRUE(Eventually([&] { return node_.followers() == 1; }));
  node_.Tell({});
  follower.join();
  EXPECT_EQ(four.seen.size(), 4U);

  RecordingEvents quiet;
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return node_.followers() == 1; }));
    quiet.cancel = true;
  });
  EXPECT_TRUE(client_->Events({.since = 4, .follow = true}, quiet).ok());
  canceller.join();
  EXPECT_TRUE(Eventually([&] { return node_.followers() == 0; })) << "the server forgets a follower that left";
}

TEST_F(NodeRpc, FollowersCannotTakeAllThreads) {
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<RecordingEvents>> sinks;
  for (int i = 0; i < 16; ++i) {
    RecordingEvents& sink = *sinks.emplace_back(std::make_unique<RecordingEvents>());
    threads.emplace_back([this, &sink] { EXPECT_TRUE(client_->Events({.since = 0, .follow = true}, sink).ok()); });
  }
  EXPECT_TRUE(Eventually([&] { return node_.followers() == 16; }));
  RecordingEvents one_more;
  EXPECT_EQ(client_->Events({.since = 0, .follow = true}, one_more).code(), ErrorCode::kResourceExhausted);
  EXPECT_TRUE(client_->About().ok());
  for (auto& sink : sinks) sink->cancel = true;
  for (std::thread& thread : threads) thread.join();
}

TEST_F(NodeRpc, AServerThatAcceptsAndSaysNothingIsGivenUp) {
  server_.reset();
  const SilentServer silent(socket_path_);
  auto client = Client({.socket_path = "", .call_timeout = Millis(200), .silence_timeout = Millis(200)});
  EXPECT_EQ(client->About().status().code(), ErrorCode::kDeadlineExceeded);
  RecordingProgress progress;
  EXPECT_EQ(client->Attach(Spec(), progress).status().code(), ErrorCode::kDeadlineExceeded);
  RecordingEvents events;
  EXPECT_EQ(client->Events({}, events).code(), ErrorCode::kDeadlineExceeded);
}

TEST_F(NodeRpc, ADeadHecadIsNamedAndARestartedOneIsFound) {
  EXPECT_TRUE(client_->About().ok());
  server_.reset();
  const Status gone = client_->About().status();
  EXPECT_EQ(gone.code(), ErrorCode::kUnavailable);
  EXPECT_NE(gone.message().find(socket_path_), std::string::npos) << gone.message();
  EXPECT_NE(gone.message().find("is hecad running"), std::string::npos) << gone.message();
  StartServer();
  EXPECT_TRUE(client_->About().ok());
}

TEST_F(NodeRpc, WhatHecadSaysOfAnotherConnectionIsNotTakenForItsOwn) {
  const Status said(ErrorCode::kUnavailable, "no data connection to sponsor s", ErrorScope::kConnection);
  node_.FailWith(said);
  RecordingProgress progress;
  EXPECT_EQ(client_->Attach(Spec(), progress).status().ToString(), said.ToString()) << "no word of the socket";
}

TEST_F(NodeRpc, ARestartThatNobodySawCostsNoCall) {
  RecordingProgress progress;
  RecordingEvents events;
  const auto restart = [&] {
    EXPECT_TRUE(client_->About().ok()) << "it has a connection";
    server_.reset();
    StartServer();
  };
  restart();
  EXPECT_EQ(client_->Regions().status().ToString(), Status().ToString());
  restart();
  EXPECT_EQ(client_->Attach(Spec(), progress).status().ToString(), Status().ToString());
  restart();
  EXPECT_EQ(client_->Events({}, events).ToString(), Status().ToString());
}

}  // namespace
}  // namespace heca::control
