// SPDX-License-Identifier: LGPL-2.1-or-later
// The socket file: who may use it, and who may have it.
#include "control/local_server.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/unique_fd.h"
#include "control/node_client.h"
#include "support/fake_node.h"
#include "support/temporary_directory.h"

namespace heca::control {
namespace {

class LocalServerTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<LocalServer>> Start(mode_t mode = 0600, const std::string& group = "") {
    return LocalServer::Start({.socket_path = path_, .mode = mode, .group = group}, node_);
  }
  [[nodiscard]] struct stat Stat() const {
    struct stat found {};
    EXPECT_EQ(::stat(path_.c_str(), &found), 0);
    return found;
  }
  [[nodiscard]] bool Answers() const { return NodeClient::Create({.socket_path = path_}).value()->About().ok(); }
  /// Binds a socket at the path, as another program would.
  [[nodiscard]] unique_fd Bind() const {
    unique_fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 1), 0);
    return fd;
  }

  testing::TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/hecad.sock";
  testing::FakeNode node_;
};

TEST_F(LocalServerTest, ModeAndGroupAreAsAsked) {
  const group* const some = ::getgrgid(::geteuid() == 0 ? 1 : ::getegid());
  if (some == nullptr) GTEST_SKIP() << "this system has no group to give the socket to";
  const gid_t gid = some->gr_gid;
  const auto server = Start(0620, some->gr_name);
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  EXPECT_EQ(Stat().st_mode & 07777, 0620U);
  EXPECT_TRUE(S_ISSOCK(Stat().st_mode));
  EXPECT_EQ(Stat().st_gid, gid);
  EXPECT_TRUE(Answers());
}

TEST_F(LocalServerTest, StoppingRemovesTheSocketAndLeavesNothingElse) {
  {
    const auto server = Start();
    ASSERT_TRUE(server.ok());
  }
  for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
    EXPECT_EQ(entry.path(), path_ + ".lock");
  }
  EXPECT_TRUE(Start().ok()) << "the lock was let go";
}

TEST_F(LocalServerTest, ALiveHecadIsRefusedAndNamed) {
  const auto first = Start();
  ASSERT_TRUE(first.ok());
  const auto second = Start();
  EXPECT_EQ(second.status().code(), ErrorCode::kFailedPrecondition);
  for (const std::string& part : {std::string("another hecad is running"), "held by pid " + std::to_string(::getpid()) + ";"}) {
    EXPECT_NE(second.status().message().find(part), std::string::npos) << second.status().message();
  }
  EXPECT_TRUE(Answers()) << "the first one is unharmed";
}

TEST_F(LocalServerTest, ASocketThatAnotherProgramServesIsRefused) {
  const unique_fd other = Bind();
  EXPECT_EQ(Start().status().code(), ErrorCode::kFailedPrecondition);
}

TEST_F(LocalServerTest, AStaleSocketIsReplaced) {
  { const unique_fd dead = Bind(); }
  ASSERT_TRUE(std::filesystem::exists(path_));
  const auto server = Start();
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  EXPECT_TRUE(Answers());
}

TEST_F(LocalServerTest, OneThatWasKilledIsReplaced) {
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    // What a killed hecad leaves: the lock file that it held, and its socket.
    const int lock = ::open((path_ + ".lock").c_str(), O_RDWR | O_CREAT, 0600);
    const unique_fd bound = Bind();
    const char done = lock >= 0 && bound ? 'y' : 'n';
    static_cast<void>(!::write(ready[1], &done, 1));
    while (true) ::pause();
  }
  char done = 0;
  ASSERT_EQ(::read(ready[0], &done, 1), 1);
  EXPECT_EQ(done, 'y');
  EXPECT_EQ(Start().status().code(), ErrorCode::kFailedPrecondition);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  const auto server = Start();
  ASSERT_TRUE(server.ok()) << server.status().ToString();
  EXPECT_TRUE(Answers());
}

TEST_F(LocalServerTest, WrongPlacesAreRefused) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(Start().status().code(), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(std::filesystem::file_size(path_), 8U);
  std::filesystem::remove(path_);

  EXPECT_EQ(Start(0600, "no-such-group").status().code(), ErrorCode::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "nothing is left of a failed start";
  EXPECT_EQ(LocalServer::Start({.socket_path = "/no/such/directory/s"}, node_).status().code(), ErrorCode::kNotFound);
  EXPECT_EQ(LocalServer::Start({.socket_path = ""}, node_).status().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(LocalServer::Start({.socket_path = "/tmp/" + std::string(120, 'x')}, node_).status().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Start().ok());
}

}  // namespace
}  // namespace heca::control
