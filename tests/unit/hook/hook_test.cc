// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hook/hook.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "control/local_server.h"
#include "support/fake_node.h"
#include "support/temporary_directory.h"

namespace heca::hook {
namespace {

constexpr const char* kPlain = "<domain type='kvm'><name>shop</name></domain>";
constexpr const char* kHeca =
    "<domain type='kvm'><name>shop</name><uuid>43756c77-f706-4ef8-a6f9-7c3677e4b22f</uuid><memory unit='MiB'>512</memory>"
    "<metadata><h:memory xmlns:h='https://hecatonchire.org/xmlns/1' ratio='1:3'/></metadata></domain>";

class HookTest : public ::testing::Test {
 protected:
  HookTest() {
    ::setenv("HECA_SOCKET", socket_.c_str(), 1);
  }
  ~HookTest() override { ::unsetenv("HECA_SOCKET"); }
  void StartHecad() {
    auto server = control::LocalServer::Start({.socket_path = socket_, .mode = 0600, .group = ""}, node_);
    ASSERT_TRUE(server.ok()) << server.status().ToString();
    server_ = std::move(*server);
  }
  int Hook(const std::vector<std::string>& arguments, const std::string& xml) {
    std::istringstream in(xml);
    out_.str("");
    err_.str("");
    return hook::Run(arguments, in, out_, err_);
  }

  heca::testing::TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/hecad.sock";
  heca::testing::FakeNode node_;
  std::unique_ptr<control::LocalServer> server_;
  std::ostringstream out_, err_;
};

TEST_F(HookTest, OtherDomainsAreLeftAloneWhateverHappensToThemAndToHecad) {
  for (const char* operation : {"prepare", "start", "started", "stopped", "release", "migrate", "reconnect", "restore"}) {
    EXPECT_EQ(Hook({"shop", operation, "begin", "-"}, kPlain), 0) << operation;
    EXPECT_EQ(out_.str() + err_.str(), "") << operation;
  }
}

TEST_F(HookTest, HecadHearsOfADomainThatStarts) {
  StartHecad();
  EXPECT_EQ(Hook({"shop", "started", "begin", "-"}, kHeca), 0) << err_.str();
  const auto event = node_.last_domain_event();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->domain, "shop");
  EXPECT_EQ(event->operation, "started");
  EXPECT_EQ(event->phase, "begin");
  EXPECT_EQ(event->xml, kHeca);
}

TEST_F(HookTest, WhatHecadRefusesDoesNotStart) {
  StartHecad();
  node_.AnswerDomainsWith(Status(ErrorCode::kFailedPrecondition, "no peer lets it go"));
  EXPECT_EQ(Hook({"shop", "started", "begin", "-"}, kHeca), 1);
  EXPECT_NE(err_.str().find("shop"), std::string::npos);
  EXPECT_NE(err_.str().find("no peer lets it go"), std::string::npos) << err_.str();
}

TEST_F(HookTest, WithoutHecadItsDomainsDoNotStartAndSayWhy) {
  EXPECT_EQ(Hook({"shop", "started", "begin", "-"}, kHeca), 1);
  EXPECT_NE(err_.str().find("hecad"), std::string::npos) << err_.str();
  EXPECT_EQ(out_.str(), "");
}

TEST_F(HookTest, ARunningGuestIsNeverEndedByAReconnect) {
  EXPECT_EQ(Hook({"shop", "reconnect", "begin", "-"}, kHeca), 0);
  EXPECT_EQ(Hook({"shop", "reconnect", "begin", "-"}, "rubbish https://hecatonchire.org/xmlns/1"), 0);
}

TEST_F(HookTest, MigrateIsToldAndAnswersWithTheRepairedXmlAndNothingElse) {
  EXPECT_EQ(Hook({"shop", "migrate", "begin", "-"}, kHeca), 1) << "hecad is not there, and the VM would come without memory";
  EXPECT_EQ(out_.str(), "");
  StartHecad();
  EXPECT_EQ(Hook({"shop", "migrate", "begin", "-"}, kHeca), 0) << err_.str();
  EXPECT_NE(out_.str().find("<domain"), std::string::npos);
  EXPECT_NE(out_.str().find("mode='shared'"), std::string::npos) << out_.str();
  EXPECT_EQ(node_.last_domain_event()->operation, "migrate");
  EXPECT_EQ(Hook({"shop", "migrate", "begin", "-"}, "<domain> https://hecatonchire.org/xmlns/1"), 1);
  EXPECT_EQ(out_.str(), "");
}

TEST_F(HookTest, TheSocketOfAQemuThatWasKilledIsRemovedOnceItHasEnded) {
  const std::string path = directory_.path() + "/43756c77.sock";
  const auto xml = [&](const std::string& wanted) {
    std::string text = kHeca;
    text.insert(text.find("<name>"), "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><q:arg value='-chardev'/>"
                                     "<q:arg value='socket,id=heca,path=" + wanted + ",server=on,wait=off'/></q:commandline>");
    return text;
  };
  ASSERT_EQ(::mknod(path.c_str(), S_IFSOCK | 0600, 0), 0);
  for (const char* operation : {"prepare", "stopped", "reconnect"}) EXPECT_EQ(Hook({"shop", operation, "end", "-"}, xml(path)), 0);
  EXPECT_EQ(::access(path.c_str(), F_OK), 0) << "it may still run";
  EXPECT_EQ(Hook({"shop", "release", "end", "-"}, xml(path)), 0);
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
  EXPECT_EQ(Hook({"shop", "release", "end", "-"}, xml(path)), 0) << "it removed it itself";
  const std::string no_socket = directory_.path() + "/file";
  std::ofstream(no_socket) << "somebody's";
  EXPECT_EQ(Hook({"shop", "release", "end", "-"}, xml(no_socket)), 0);
  EXPECT_EQ(::access(no_socket.c_str(), F_OK), 0);
  EXPECT_EQ(Hook({"shop", "release", "end", "-"}, kHeca), 0);
  EXPECT_EQ(Hook({"shop", "release", "end", "-"}, "<domain> https://hecatonchire.org/xmlns/1"), 0);
  EXPECT_EQ(out_.str() + err_.str(), "");
}

TEST_F(HookTest, BeingRunByHandIsExplained) {
  EXPECT_EQ(Hook({}, ""), 2);
  EXPECT_NE(err_.str().find("hook"), std::string::npos);
}

}  // namespace
}  // namespace heca::hook
