// SPDX-License-Identifier: LGPL-2.1-or-later
#include "daemon/config_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "daemon/config_options.h"

namespace heca::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> ProblemsOf(std::string_view text) {
  Config config;
  Origins origins;
  Problems problems;
  ApplyToml(text, "/etc/heca/hecad.toml", config, origins, problems);
  if (problems.empty()) Finish(config, origins, problems);
  return problems.lines;
}

TEST(ConfigToml, EmptyFileGivesDefaults) { EXPECT_THAT(ProblemsOf(""), ElementsAre()); }

TEST(ConfigToml, ReadsValuesAndPeers) {
  Config config;
  Origins origins;
  Problems problems;
  ApplyToml(
      "name = \"c1\"\ndonate = \"8GiB\"\nslab-size = 67108864\nreserve = false\nlease-seconds = 9\n"
      "[[peer]]\nname = \"m1\"\naddress = \"10.1.0.3:7300\"\n"
      "[[peer]]\nname = \"m2\"\naddress = \"10.1.0.4:7300\"\nfailure-domain = \"rack2\"\n",
      "f", config, origins, problems);
  EXPECT_THAT(problems.lines, ElementsAre());
  EXPECT_EQ(config.name, "c1");
  EXPECT_EQ(config.donate.value(), 8ULL << 30);
  EXPECT_EQ(config.slab_size.value(), 64ULL << 20);
  EXPECT_FALSE(config.reserve);
  EXPECT_EQ(config.lease.count(), 9);
  EXPECT_THAT(config.peers,
              ElementsAre(Peer{"m1", "10.1.0.3:7300", ""}, Peer{"m2", "10.1.0.4:7300", "rack2"}));
  EXPECT_EQ(origins.at("donate"), "f:2");
}

struct FileRefusal {
  const char* name;
  const char* toml;
  const char* text;
};

class ConfigTomlRefusals : public ::testing::TestWithParam<FileRefusal> {};

TEST_P(ConfigTomlRefusals, NamesFileLineAndKey) {
  EXPECT_THAT(ProblemsOf(GetParam().toml), ElementsAre(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(
    Table, ConfigTomlRefusals,
    ::testing::Values(
        FileRefusal{"UnknownKey", "\ndonnate = \"8GiB\"",
                    "/etc/heca/hecad.toml:2: donnate: unknown key; did you mean 'donate'?"},
        FileRefusal{"UnknownKeyFarAway", "colour = 1",
                    "/etc/heca/hecad.toml:1: colour: unknown key; `hecad --print-config` lists all keys"},
        FileRefusal{"UnknownTable", "[engines]\nprefetch = true",
                    "/etc/heca/hecad.toml:1: engines: unknown key; `hecad --print-config` lists all keys"},
        FileRefusal{
            "BadSize", "donate = \"2XB\"",
            "/etc/heca/hecad.toml:1: donate: '2XB' is not a size (unknown unit 'XB'): write it like 2GiB, "
            "512MiB, 64M or 4096 (bytes)"},
        FileRefusal{"NegativeSize", "donate = -1",
                    "/etc/heca/hecad.toml:1: donate: '-1' is not a size: write it like 2GiB, 512MiB, 64M or "
                    "4096 (bytes)"},
        FileRefusal{"NumberWanted", "lease-seconds = \"9\"",
                    "/etc/heca/hecad.toml:1: lease-seconds: a whole number is wanted here, not a text"},
        FileRefusal{"SwitchWanted", "reserve = 1",
                    "/etc/heca/hecad.toml:1: reserve: true or false is wanted here, not a whole number"},
        FileRefusal{
            "TextWanted", "name = 3.5",
            "/etc/heca/hecad.toml:1: name: a text in quotes is wanted here, not a number with a fraction"},
        FileRefusal{"SizeWanted", "donate = [1]",
                    "/etc/heca/hecad.toml:1: donate: a size like \"2GiB\", or a number of bytes is wanted "
                    "here, not a list"},
        FileRefusal{
            "PeerNotATable", "peer = \"m1\"",
            "/etc/heca/hecad.toml:1: peer: write one [[peer]] block for each peer, with name and address"},
        FileRefusal{"PeerKey",
                    "[[peer]]\nname = \"m1\"\nadress = \"10.1.0.3:7300\"\naddress = \"10.1.0.3:7300\"",
                    "/etc/heca/hecad.toml:3: peer.adress: unknown key; did you mean 'address'?"},
        FileRefusal{"PeerWithoutAddress", "\n[[peer]]\nname = \"m1\"",
                    "/etc/heca/hecad.toml:2: peer: a peer needs `address`"},
        FileRefusal{"PeerAddress", "[[peer]]\nname = \"m1\"\naddress = \"10.1.0.3\"",
                    "/etc/heca/hecad.toml:3: peer.address: '10.1.0.3' is not an address: write it like "
                    "10.1.0.3:7300 or "
                    "[::1]:7300"},
        FileRefusal{"PeerTwice",
                    "[[peer]]\nname = \"m1\"\naddress = \"a:1\"\n[[peer]]\nname = \"m1\"\naddress = \"b:1\"",
                    "/etc/heca/hecad.toml:1: peer: 'm1' is there twice"},
        FileRefusal{"PeerIsSelf", "name = \"m1\"\n[[peer]]\nname = \"m1\"\naddress = \"a:1\"",
                    "/etc/heca/hecad.toml:2: peer: 'm1' is this node itself: leave it out or set name"},
        FileRefusal{"Watermarks", "watermark-low = 5\nwatermark-high = 5",
                    "/etc/heca/hecad.toml:1: watermark-low: 5 is not below watermark-high, 5: eviction would "
                    "never rest"},
        FileRefusal{"DonateLessThanSlab", "donate = \"32MiB\"",
                    "/etc/heca/hecad.toml:1: donate: 32MiB is less than one slab of 64MiB: raise donate or "
                    "lower slab-size"},
        FileRefusal{"SameListen", "data-listen = \"127.0.0.1:7300\"",
                    "/etc/heca/hecad.toml:1: data-listen: 127.0.0.1:7300 is the address of control-listen "
                    "too: give each "
                    "its own port"},
        FileRefusal{"NoJob", "compute = false",
                    "/etc/heca/hecad.toml:1: compute: off and nothing donated leaves hecad without a job: "
                    "set donate or "
                    "switch compute on"}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(ConfigToml, SyntaxErrorHasItsLine) {
  const auto lines = ProblemsOf("name = \"c1\"\ndonate = \n");
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_THAT(lines[0], ::testing::StartsWith("/etc/heca/hecad.toml:2: "));
}

TEST(ConfigToml, AllProblemsInTheOrderOfTheLines) {
  EXPECT_THAT(ProblemsOf("zone = 1\nname = 2\nlease-seconds = 0\n"),
              ElementsAre("/etc/heca/hecad.toml:1: zone: unknown key; `hecad --print-config` lists all keys",
                          "/etc/heca/hecad.toml:2: name: a text in quotes is wanted here, not a whole number",
                          "/etc/heca/hecad.toml:3: lease-seconds: '0' is not a number from 1 to 86400"));
}

class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view text) {
    const int fd = ::mkstemp(path_);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  ~TemporaryFile() { ::unlink(path_); }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  char path_[32] = "/tmp/heca-config-XXXXXX";
};

Invocation Parse(std::vector<std::string> args) { return ParseInvocation(args); }

TEST(Invocation, FlagsOverrideTheFile) {
  const TemporaryFile file("donate = \"8GiB\"\nname = \"c1\"\n[[peer]]\nname = \"m1\"\naddress = \"a:1\"\n");
  const Invocation made = Parse({"--config", file.path(), "--donate", "4GiB", "--reserve", "off", "--peer",
                                 "m2=b:2", "--peer", "m3=c:3,rack"});
  ASSERT_EQ(made.action, Action::kRun) << ::testing::PrintToString(made.problems.lines);
  EXPECT_EQ(made.config.donate.value(), 4ULL << 30);
  EXPECT_EQ(made.config.name, "c1");
  EXPECT_FALSE(made.config.reserve);
  EXPECT_THAT(made.config.peers, ElementsAre(Peer{"m2", "b:2", ""}, Peer{"m3", "c:3", "rack"}));
}

TEST(Invocation, NameIsTheHostsByDefault) {
  const TemporaryFile file("");
  EXPECT_FALSE(Parse({"--config", file.path()}).config.name.empty());
}

TEST(Invocation, ActionsAndHelp) {
  const TemporaryFile file("");
  EXPECT_EQ(Parse({"-c", file.path(), "--check-config"}).action, Action::kCheckConfig);
  EXPECT_EQ(Parse({"-c", file.path(), "--print-config"}).action, Action::kPrintConfig);
  EXPECT_THAT(Parse({"--version"}).text, ::testing::StartsWith("hecad "));
  const Invocation help = Parse({"--help"});
  EXPECT_EQ(help.action, Action::kPrintText);
  for (const Option& option : Options()) EXPECT_THAT(help.text, HasSubstr("--" + std::string(option.key)));
}

TEST(Invocation, RefusalsNameTheFlag) {
  const TemporaryFile file("");
  const auto problems = [&](std::vector<std::string> args) {
    args.insert(args.end(), {"-c", file.path()});
    const Invocation made = ParseInvocation(args);
    EXPECT_EQ(made.action, Action::kRefused);
    return made.problems.lines;
  };
  EXPECT_THAT(
      problems({"--donate", "2XB"}),
      ElementsAre(
          "--donate: '2XB' is not a size (unknown unit 'XB'): write it like 2GiB, 512MiB, 64M or 4096 "
          "(bytes)"));
  EXPECT_THAT(
      problems({"--donate", "4MiB"}),
      ElementsAre("--donate: donate: 4MiB is less than one slab of 64MiB: raise donate or lower slab-size"));
  EXPECT_THAT(
      problems({"--peer", "x"}),
      ElementsAre("--peer: 'x' is not a peer: write it like m1=10.1.0.3:7300 or m1=10.1.0.3:7300,rack2"));
  const auto unknown = problems({"--donat", "1G"});
  ASSERT_EQ(unknown.size(), 1U);
  EXPECT_THAT(unknown[0], HasSubstr("; did you mean --donate?"));
  EXPECT_THAT(ParseInvocation(std::vector<std::string>{"-c", "/no/such/file"}).problems.lines,
              ElementsAre("--config: /no/such/file cannot be read: No such file or directory (ENOENT)"));
}

TEST(PrintConfig, ReadsBackAsItself) {
  const TemporaryFile file("");
  const Invocation made =
      Parse({"-c", file.path(), "--donate", "1536MiB", "--metrics-listen", "off", "--reserve", "off",
             "--failure-domain", "rack \"7\"", "--peer", "m2=b:2,r2"});
  ASSERT_EQ(made.action, Action::kRun);
  const std::string text = PrintConfig(made.config);
  const TemporaryFile printed(text);
  const Invocation again = Parse({"-c", printed.path()});
  EXPECT_THAT(again.problems.lines, ElementsAre());
  EXPECT_EQ(PrintConfig(again.config), text);
  EXPECT_THAT(text, HasSubstr("donate = \"1536MiB\"\n"));
}

TEST(ExampleConfig, IsTheOneThatIsShipped) {
  std::ifstream stream(HECA_SOURCE_DIR "/packaging/hecad.toml");
  const std::string shipped((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_EQ(shipped, ExampleConfig()) << "write the second text to packaging/hecad.toml";
}

TEST(ExampleConfig, EveryKeyUncommentedIsAccepted) {
  std::string text;
  std::istringstream lines(ExampleConfig());
  for (std::string line; std::getline(lines, line);) {
    const bool value = line.size() > 1 && line[0] == '#' && line[1] != ' ' && line[1] != '#';
    text += (value ? line.substr(1) : line) + "\n";
  }
  EXPECT_THAT(ProblemsOf(text), ElementsAre());
  EXPECT_THAT(text, HasSubstr("\ndonate = \"0\"\n"));
}

TEST(ManPage, NamesEveryKey) {
  std::ifstream stream(HECA_SOURCE_DIR "/packaging/man/hecad.toml.5");
  const std::string page((std::istreambuf_iterator<char>(stream)), {});
  for (const Option& option : Options())
    EXPECT_THAT(page, HasSubstr("\n.B " + std::string(option.key) + "\n"));
}

}  // namespace
}  // namespace heca::daemon
