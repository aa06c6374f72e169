// SPDX-License-Identifier: LGPL-2.1-or-later
// A hecad that governs nothing: FakeNode behind the real local server, for tests of hecactl as a program.
//   fake_hecad SOCKET [steps=N | endless | fail=CODE | departs=DOMAIN | stays=PHASE]...
// steps=N makes attach, limit, detach and migrate report N steps at 10 ms each; endless lets them run until they are
// cancelled, of which an event tells; fail=CODE (a number of ErrorCode) lets every call fail. departs=DOMAIN tells, one a
// question from the second on, the phases of a departure of this domain, and the last one for ever: its end, or with
// stays=PHASE this one. Ends at SIGTERM or when its standard input closes.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "control/local_server.h"
#include "support/fake_node.h"
#include "support/node_samples.h"

namespace {

using heca::testing::FakeNode;

std::function<heca::Status(heca::control::ProgressSink&)> Paced(std::uint64_t steps) {
  return [steps](heca::control::ProgressSink& progress) {
    for (std::uint64_t i = 1; i <= steps; ++i) {
      progress.OnProgress({"write-back", i << 20, steps << 20, ""});
      ::poll(nullptr, 0, 10);  // the pace of the work that is played here
    }
    return heca::Status();
  };
}

/// Thread-safe: gRPC asks from any thread.
class Departing {
 public:
  void Domain(const std::string& name) { domain_ = name; }
  void StayAt(const std::string& phase) { last_ = phase; }
  std::vector<heca::control::MigrationInfo> Ask() {
    if (domain_.empty() || asked_.fetch_add(1) == 0) return {};
    const std::vector<std::string> phases{"stream", "post-copy", "complete"};
    std::size_t at = std::min(phases.size() - 1, asked_.load() - 2);
    while (at > 0 && phases[at - 1] == last_) --at;
    heca::control::MigrationInfo info = heca::testing::SampleDeparture();
    info.domain = info.reached.region = domain_;
    info.progress.phase = phases[at];
    info.over = info.ok = phases[at] == "complete";
    return {info};
  }

 private:
  std::string domain_;
  std::string last_;
  std::atomic<std::size_t> asked_{0};
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  FakeNode fake;
  fake.about = heca::testing::SampleNode();
  fake.nodes = {heca::testing::SamplePeer()};
  fake.leases = {heca::testing::SampleLease()};
  fake.migrated = heca::testing::SampleMigration();
  fake.stats = {heca::testing::SampleStats(1000)};
  fake.checks = {{"kernel", heca::control::Verdict::kOk, "as told by hecad", ""}};
  fake.Tell(heca::testing::SampleEvent());
  Departing departing;
  fake.migrations = [&] { return departing.Ask(); };
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("steps=")) fake.script = Paced(std::strtoull(word.c_str() + 6, nullptr, 10));
    if (word == "endless") {
      fake.script = [&fake](heca::control::ProgressSink& progress) {
        heca::Status ended = FakeNode::UntilCancelled(progress);
        heca::control::Event event = heca::testing::SampleEvent();
        event.text = ended.message();
        fake.Tell(event);
        return ended;
      };
    }
    if (word.starts_with("departs=")) departing.Domain(word.substr(8));
    if (word.starts_with("stays=")) departing.StayAt(word.substr(6));
    if (word.starts_with("fail=")) {
      const auto code = static_cast<heca::ErrorCode>(std::atoi(word.c_str() + 5));
      fake.FailWith(heca::Status(code, "VM 'x' cannot be governed: do this first"));
    }
  }
  heca::control::LocalServerOptions options;
  options.socket_path = argv[1];
  auto server = heca::control::LocalServer::Start(options, fake);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  char byte = 0;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
