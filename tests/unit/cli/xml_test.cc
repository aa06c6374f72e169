// SPDX-License-Identifier: LGPL-2.1-or-later
// `hecactl xml` from its command line to its exit code; what is done to the XML is tested in tests/unit/domain.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/app.h"
#include "support/temporary_directory.h"

namespace heca::cli {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kPlain = R"(<domain type='kvm'>
  <name>vm1</name>
  <memory unit='GiB'>2</memory>
  <devices>
    <interface type='network'/>
  </devices>
</domain>
)";

struct Ran {
  int code;
  std::string out;
  std::string err;
};

/// There is no hecad: nobody may ask for one.
Ran Hecactl(std::string input, std::vector<std::string> args, bool terminal = false) {
  char* out = nullptr;
  char* err = nullptr;
  std::size_t out_size = 0;
  std::size_t err_size = 0;
  std::FILE* in = input.empty() ? std::fopen("/dev/null", "re") : ::fmemopen(input.data(), input.size(), "r");
  const Output output{::open_memstream(&out, &out_size), ::open_memstream(&err, &err_size), false, false, in, terminal};
  const int code = cli::Run(args, output,
                            [](const control::NodeClientOptions&) -> Result<std::unique_ptr<control::NodeApi>> {
                              ADD_FAILURE() << "hecad was asked for";
                              return Status(ErrorCode::kUnavailable, "nobody");
                            });
  for (std::FILE* file : {output.out, output.err, in}) std::fclose(file);
  Ran ran{code, {out, out_size}, {err, err_size}};
  std::free(out);
  std::free(err);
  return ran;
}

TEST(Xml, PrintsTheReadyXml) {
  const Ran ran = Hecactl(kPlain, {"xml", "--ratio", "1:3", "--replicas", "2", "--migration", "hybrid", "--transport",
                                   "tcp"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  EXPECT_THAT(ran.out, StartsWith("<domain type='kvm' xmlns:qemu="));
  EXPECT_THAT(ran.out, HasSubstr("ratio='1:3' replicas='2' migration='hybrid' transport='tcp'/>"));
  EXPECT_THAT(ran.out, HasSubstr("<source type='file'/>"));
  const Ran again = Hecactl(ran.out, {"xml"});
  EXPECT_EQ(again.out, ran.out);
  EXPECT_EQ(Hecactl(ran.out, {"xml", "--check"}).out, "domain vm1: ready\n");
  EXPECT_EQ(Hecactl(ran.out, {"xml", "--check"}).code, 0);
}

TEST(Xml, FromAFileWithNotes) {
  const heca::testing::TemporaryDirectory directory;
  const std::string file = directory.path() + "/vm1.xml";
  std::ofstream(file) << kPlain;
  const Ran ran = Hecactl("", {"xml", "--local", "2GiB", file});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("local='2GiB'"));
  EXPECT_EQ(ran.err, "hecactl: xml: note: local 2GiB is all of the guest's 2GiB: nothing leaves this host\n");
  const Ran gone = Hecactl("", {"xml", file + ".gone"});
  EXPECT_EQ(gone.code, 4);
  EXPECT_THAT(gone.err, HasSubstr("hecactl: xml: cannot open " + file + ".gone"));
}

TEST(Xml, CheckSaysWhatWouldChange) {
  const Ran ran = Hecactl(kPlain, {"xml", "--check", "--local", "1GiB"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.out,
            "domain vm1: not ready; hecactl xml changes this:\n"
            "metadata: <heca:memory local='1GiB'/> is added\n"
            "memory backing: <source type='file'> is added\n"
            "memory backing: <access mode='shared'> is added\n"
            "QMP socket: /run/heca/qmp/vm1.sock is added, for hecad alone\n"
            "QMP socket: -mon chardev=heca,mode=control is added\n");
  const json plan = json::parse(Hecactl(kPlain, {"xml", "--check", "--json"}).out);
  EXPECT_EQ(plan["domain"], "vm1");
  EXPECT_EQ(plan["uuid"], "");
  EXPECT_EQ(plan["ready"], false);
  EXPECT_EQ(plan["changes"].size(), 5U);
  EXPECT_EQ(plan["changes"][0]["name"], "metadata");
  EXPECT_FALSE(plan.contains("xml"));
  EXPECT_THAT(json::parse(Hecactl(kPlain, {"xml", "--json"}).out)["xml"].get<std::string>(), StartsWith("<domain"));
}

TEST(Xml, WhatCannotBeGoverned) {
  std::string vdpa = kPlain;
  vdpa.replace(vdpa.find("'network'"), 9, "'vdpa'");
  const Ran ran = Hecactl(vdpa, {"xml"});
  EXPECT_EQ(ran.code, 4);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "hecactl: xml: domain 'vm1': vhost-vdpa: <interface type='vdpa'>; remedy: use a tap or kernel "
                     "vhost-net interface\n");
  const Ran check = Hecactl(vdpa, {"xml", "--check"});
  EXPECT_EQ(check.code, 1);
  EXPECT_THAT(check.out, StartsWith("domain vm1: cannot be governed\n"
                                    "refused: vhost-vdpa: <interface type='vdpa'>; remedy: use a tap"));
  EXPECT_EQ(json::parse(Hecactl(vdpa, {"xml", "--check", "--json"}).out)["refusals"][0]["name"], "vhost-vdpa");
}

TEST(Xml, UsageErrors) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"xml", "--ratio", "3"}, "hecactl: xml: --ratio: '3' is not a ratio"},
      {{"xml", "--local", "0"}, "hecactl: xml: --local: some memory has to stay here"},
      {{"xml", "--local", "1G", "--ratio", "1:1"}, "hecactl: "},
      {{"xml", "--replicas", "9"}, "hecactl: xml: --replicas: '9' is not a whole number from 1 to 8"},
      {{"xml", "--migration", "copy"}, "hecactl: xml: --migration: 'copy' is not post-copy, hybrid, pre-copy"},
      {{"xml", "--transport", "ib"}, "hecactl: xml: --transport: 'ib' is not auto, tcp, rdma"},
  };
  for (const auto& [args, text] : cases) {
    const Ran ran = Hecactl(kPlain, args);
    EXPECT_EQ(ran.code, 2) << text;
    EXPECT_EQ(ran.out, "");
    EXPECT_THAT(ran.err, StartsWith(text));
  }
  EXPECT_EQ(Hecactl("", {"xml"}).code, 2);
  EXPECT_EQ(Hecactl("", {"xml"}).err, "hecactl: xml: there is no XML, only blanks\n");
  const Ran waits = Hecactl(kPlain, {"xml"}, true);
  EXPECT_EQ(waits.code, 2);
  EXPECT_THAT(waits.err, HasSubstr("name a FILE, or pipe it: virsh dumpxml --inactive --security-info DOMAIN | "));
}

}  // namespace
}  // namespace heca::cli
