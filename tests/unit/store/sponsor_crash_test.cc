// SPDX-License-Identifier: LGPL-2.1-or-later
// A sponsor in a process of its own, over gRPC and TCP, killed in the middle of writes. The process is this test
// program, started again with an environment that makes it serve.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "control/peer_server.h"
#include "control/sponsor_client.h"
#include "sponsor_rig.h"
#include "support/page_store_driver.h"

namespace heca::store {
namespace {

constexpr const char* kDirectoryVariable = "HECA_TEST_SPONSOR_DIRECTORY";

/// What the child does: serves until it is killed. Its ports are told in DIRECTORY.port; a restarted one takes the
/// same control port again.
void Serve(const std::string& directory) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::string port_file = directory + ".port";
  std::uint16_t port = 0;
  std::ifstream(port_file) >> port;
  auto sponsor = Sponsor::Create(test::SmallSponsor(directory));
  ASSERT_TRUE(sponsor.ok()) << sponsor.status().ToString();
  transport::TcpServerOptions data;
  data.listen = {"127.0.0.1", 0};
  auto server = transport::TcpServer::Create(data, **sponsor);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  (*sponsor)->SetEndpoints({{"tcp", (*server)->endpoint().ToString()}});
  auto peer = control::PeerServer::Start({"127.0.0.1", port}, **sponsor);
  ASSERT_TRUE(peer.ok()) << peer.status().ToString();
  std::ofstream(port_file + ".new") << (*peer)->port() << "\n";
  ASSERT_EQ(::rename((port_file + ".new").c_str(), port_file.c_str()), 0);
  for (;;) ::pause();
}

/// Owns the child.
class SponsorProcess {
 public:
  explicit SponsorProcess(std::string directory) : directory_(std::move(directory)) { Start(); }
  ~SponsorProcess() {
    Kill();
    ::unlink((directory_ + ".port").c_str());
  }
  void Start() {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setenv(kDirectoryVariable, directory_.c_str(), 1);
      ::execl("/proc/self/exe", "store_test", "--gtest_filter=SponsorCrashTest.DISABLED_ChildServes",
              "--gtest_also_run_disabled_tests", nullptr);
      ::_exit(127);
    }
    ASSERT_GT(pid_, 0);
  }
  void Kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] std::string Endpoint() const {
    const auto deadline = Deadline::After(std::chrono::seconds(20));
    while (!deadline.Passed()) {
      std::uint16_t port = 0;
      if (std::ifstream(directory_ + ".port") >> port) return "127.0.0.1:" + std::to_string(port);
      std::this_thread::sleep_for(Millis(5));
    }
    return "";
  }

 private:
  const std::string directory_;
  pid_t pid_ = 0;
};

// Not a test but the sponsor's process.
TEST(SponsorCrashTest, DISABLED_ChildServes) {
  const char* directory = std::getenv(kDirectoryVariable);
  ASSERT_NE(directory, nullptr);
  Serve(directory);
}

TEST(SponsorCrashTest, KilledInTheMiddleOfWritesItComesBackWithEveryAcknowledgedPage) {
  constexpr std::uint32_t kSlots = 512;
  constexpr int kKills = 4;
  test::ShmDirectory directory;
  SponsorProcess process(directory.path());
  const std::string endpoint = process.Endpoint();
  ASSERT_FALSE(endpoint.empty());
  auto api = control::SponsorClient::Create({endpoint});
  ASSERT_TRUE(api.ok());
  auto lease = (*api)->Reserve(test::Want(kSlots));
  ASSERT_TRUE(lease.ok()) << lease.status().ToString();
  transport::TcpDialer tcp;
  RemoteOptions options;
  options.sponsor = "m1";
  options.owner_boot_id = "boot-1";
  options.dialers = {{"tcp", &tcp}};
  auto store = RemoteStore::Create(**api, *lease, options);
  ASSERT_TRUE(store.ok());
  auto reader = (*store)->OpenReader(Role::kUrgent);
  auto writer = (*store)->OpenWriter();
  ASSERT_TRUE(reader.ok() && writer.ok());
  test::ReadDriver read(**reader);
  test::WriteDriver write(**writer);

  std::map<std::uint32_t, std::uint64_t> held;  // slot -> version, acknowledged
  for (std::uint64_t round = 1; round <= kKills; ++round) {
    std::map<std::uint64_t, std::vector<std::byte>> pages;
    write.done.clear();
    for (std::uint32_t slot = 1; slot <= kSlots; ++slot) {
      pages[slot] = test::MakePages(kBasePage, test::SlotRange(slot, 1), round);
      const auto deadline = Deadline::After(std::chrono::seconds(20));
      while ((*writer)->Write(OpTag(slot), test::SlotRange(slot, 1), pages[slot]).code() == ErrorCode::kBusy &&
             !deadline.Passed()) {
        if ((*writer)->Poll(write) == 0) test::WaitFor((*writer)->Need());
      }
      if (slot == kSlots / 2) {
        process.Kill();
        process.Start();
      }
    }
    ASSERT_TRUE(write.Await(kSlots)) << write.done.size();
    for (const auto& [tag, status] : write.done) ASSERT_TRUE(status.ok()) << tag << ": " << status.ToString();
    for (std::uint32_t slot = 1; slot <= kSlots; ++slot) held[slot] = round;
    if (round % 2 == 0) {
      process.Kill();
      process.Start();
    }
    for (const auto& [slot, version] : held) {
      const auto got = read.Read(test::SlotRange(slot, 1));
      ASSERT_TRUE(got.status.ok()) << got.status.ToString();
      ASSERT_TRUE(got.pages == test::MakePages(kBasePage, test::SlotRange(slot, 1), version)) << "slot " << slot;
    }
    for (std::uint32_t slot = 1; slot <= kSlots; slot += 64) {
      ASSERT_TRUE(write.Release(test::SlotRange(slot, 64)).ok());
    }
  }
  EXPECT_TRUE((*store)->Free().ok());
}

}  // namespace
}  // namespace heca::store
