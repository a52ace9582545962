#include "effect.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <limits>
#include <unistd.h>

#ifndef CONFORMANCE_NAME_SUFFIX
#define CONFORMANCE_NAME_SUFFIX ""
#define CONFORMANCE_CLASS_WORD 0x00000001
#endif

namespace conformance {
namespace {

enum Id : ParamID
{
    kGain = 1, kMode, kMute, kCutoff, kLatency, kTail, kNoise, kSeed, kSidechain, kFault, kFaultAt, kProbe, kBypass, kLoad,
    kShift, kTrim, kProgram, kBufferSize, kSampleRateShown, kPeak
};

enum Mode { kNormal, kInvert, kSwap };
enum Sidechain { kIgnore, kAdd, kReplace };
enum Fault { kNone, kCrash, kHang, kNotANumber, kInfinity, kRunaway, kLatencyJump, kGarbageState };
enum Probe { kOff, kTempo, kBeats, kSamples, kPlaying, kNumerator, kDenominator, kProcessMode, kBlockSize,
             kMainChannels, kSidechainChannels, kSampleRate, kShiftSamples };

constexpr double kProbeScale = 1.0 / (1 << 20); // a power of two, so that float32 keeps every bit
constexpr double kEchoSeconds = 0.05;
constexpr double kCutoffOff = 20000.0;
constexpr double kNoiseOff = -120.0;
constexpr uint32 kLatencyJumpSamples = 256;
constexpr double kMostShiftSamples = 9600.0;
constexpr double kTrimOff = -60.0;
constexpr int32 kOfTheHost = ParameterInfo::kIsReadOnly | ParameterInfo::kIsHidden;

std::vector<Parameter> effect_parameters()
{
    const std::vector<const char*> switch_names { "Off", "On" };
    return {
        { kGain, "Gain", "dB", -60.0, 60.0, 0.0 },
        { kMode, "Mode", "", 0, 2, 0, 2, false, { "Normal", "Invert", "Swap" } },
        { kMute, "Mute", "", 0, 1, 0, 1, false, switch_names },
        { kCutoff, "Cutoff", "Hz", 20.0, kCutoffOff, kCutoffOff, 0, true },
        { kLatency, "Latency", "samples", 0, 65535, 0, 65535 },
        { kTail, "Tail", "s", 0.0, 10.0, 0.0 },
        { kNoise, "Noise", "dB", kNoiseOff, 0.0, kNoiseOff },
        { kSeed, "Seed", "", 0, 255, 0, 255 },
        { kSidechain, "Sidechain", "", 0, 2, 0, 2, false, { "Ignore", "Add", "Replace" } },
        { kFault, "Fault", "", 0, 7, 0, 7, false,
          { "None", "Crash", "Hang", "NaN", "Infinity", "Runaway", "Latency", "State" } },
        { kFaultAt, "Fault At", "samples", 0, 1048575, 0, 1048575 },
        { kProbe, "Probe", "", 0, 12, 0, 12, false,
          { "Off", "Tempo", "Beats", "Samples", "Playing", "Numerator", "Denominator", "Process Mode", "Block Size",
            "Main Channels", "Sidechain Channels", "Sample Rate", "Shift" } },
        { kBypass, "Bypass", "", 0, 1, 0, 1, false, switch_names, ParameterInfo::kIsBypass },
        { kLoad, "Load", "%", 0.0, 50.0, 0.0 },
        { kShift, "Shift", "ms", 0.0, kMostShiftSamples, 0.0, 0, false, {}, 0, nullptr, true },
        { kTrim, "Trim", "dB", kTrimOff, 0.0, 0.0, 0, false, {}, 0, "oo" },
        { kProgram, "Program", "", 0, 2, 0, 2, false, { "Init", "Quiet", "Echo" }, ParameterInfo::kIsProgramChange },
        { kBufferSize, "Buffer Size", "frames", 0, 32768, 512, 32768, false, {}, kOfTheHost },
        { kSampleRateShown, "Sample Rate", "Hz", 0.0, 384000.0, 44100.0, 0, false, {}, kOfTheHost },
        { kPeak, "Peak", "dB", -120.0, 20.0, -120.0, 0, false, {}, ParameterInfo::kIsReadOnly },
    };
}

} // namespace

Identity Effect::identity()
{
    return { FUID (0x52564346, 0x58454646, 0x45435400, CONFORMANCE_CLASS_WORD),
             "Conformance Effect" CONFORMANCE_NAME_SUFFIX, "Fx", false, true };
}

Effect::Effect() : Plugin (identity(), effect_parameters()) {}

uint32 Effect::latency_samples() const { return static_cast<uint32> (value (kLatency)) + extra_latency_; }

uint32 Effect::tail_samples() const { return static_cast<uint32> (value (kTail) * sample_rate()); }

bool Effect::writes_garbage_state() const { return choice (kFault) == kGarbageState; }

void Effect::clear()
{
    position_ = 0;
    extra_latency_ = 0;
    noise_.seed (static_cast<unsigned> (value (kSeed)) + 1);
    for (Channel& channel : channels_)
    {
        channel.filter_memory = 0.0f;
        channel.echo.assign (static_cast<size_t> (kEchoSeconds * sample_rate()), 0.0f);
        channel.echo_position = 0;
        channel.line.assign (latency_samples(), 0.0f);
    }
}

// A program brings its own gain and echo each time it is written, as programs do; what belongs to the host is
// never to be written, and the plugin falls silent where it is.
void Effect::value_written (ParamID id, bool is_processing)
{
    if (is_processing && (id == kBufferSize || id == kSampleRateShown))
        is_disturbed_ = true;
    if (id != kProgram)
        return;
    set_value (kGain, choice (kProgram) == 1 ? -20.0 : 0.0);
    set_value (kTail, choice (kProgram) == 2 ? 1.0 : 0.0);
}

bool Effect::measure (ParamID& id, double& plain)
{
    id = kPeak;
    plain = 20.0 * std::log10 (std::max (1.0e-6f, peak_));
    peak_ = 0.0f;
    return true;
}

void Effect::begin_block (ProcessData& data)
{
    if (choice (kFault) == kLatencyJump && position_ >= static_cast<int64> (value (kFaultAt)))
        extra_latency_ = kLatencyJumpSamples;

    const ProcessContext none {};
    const ProcessContext& context = data.processContext ? *data.processContext : none;
    switch (choice (kProbe))
    {
        case kTempo: probe_ = context.tempo; break;
        case kBeats: probe_ = context.projectTimeMusic; break;
        case kSamples: probe_ = static_cast<double> (context.projectTimeSamples); break;
        case kPlaying: probe_ = (context.state & ProcessContext::kPlaying) ? 1.0 : 0.0; break;
        case kNumerator: probe_ = context.timeSigNumerator; break;
        case kDenominator: probe_ = context.timeSigDenominator; break;
        case kProcessMode: probe_ = data.processMode; break;
        case kBlockSize: probe_ = data.numSamples; break;
        case kMainChannels: probe_ = data.numInputs > 0 ? data.inputs[0].numChannels : 0; break;
        case kSidechainChannels: probe_ = data.numInputs > 1 ? data.inputs[1].numChannels : 0; break;
        case kSampleRate: probe_ = sample_rate(); break;
        case kShiftSamples: probe_ = value (kShift); break;
        default: break;
    }
}

void Effect::render (const Block& block)
{
    shape (block);
    mix_sidechain (block);
    delay (block);
    if (choice (kProbe) != kOff)
        write_probe (block);
    misbehave (block);
    for (int c = 0; c < block.channels; ++c)
        for (int i = 0; i < block.samples; ++i)
            peak_ = std::max (peak_, std::abs (block.outputs[c][i]));
    work (block);
    position_ += block.samples;
}

// Gain, polarity or swap, one-pole low-pass, noise and echo: everything between input and delay line. Hosts may
// process in place, so every channel of a sample is read before any is written.
void Effect::shape (const Block& block)
{
    const bool is_bypassed = choice (kBypass) == 1;
    const int mode = choice (kMode);
    const float gain = is_bypassed ? 1.0f
                       : choice (kMute) == 1 || value (kTrim) <= kTrimOff || is_disturbed_ ? 0.0f
                       : static_cast<float> (std::pow (10.0, (value (kGain) + value (kTrim)) / 20.0)) * (mode == kInvert ? -1.0f : 1.0f);
    const bool swaps = ! is_bypassed && mode == kSwap && block.channels == 2;
    const double cutoff = value (kCutoff);
    const bool filters = ! is_bypassed && cutoff < kCutoffOff;
    const float pole = static_cast<float> (std::exp (-2.0 * M_PI * cutoff / sample_rate()));
    const double noise_db = value (kNoise);
    const bool adds_noise = ! is_bypassed && noise_db > kNoiseOff;
    const float noise_level = static_cast<float> (std::pow (10.0, noise_db / 20.0));
    const double tail_s = value (kTail);
    const bool echoes = ! is_bypassed && tail_s > 0.0;
    const float feedback = echoes ? static_cast<float> (std::pow (10.0, -3.0 * kEchoSeconds / tail_s)) : 0.0f;

    if (! (swaps || filters || adds_noise || echoes))
    {
        for (int c = 0; c < block.channels; ++c)
            for (int i = 0; i < block.samples; ++i)
                block.outputs[c][i] = gain * block.inputs[c][i];
        return;
    }
    for (int i = 0; i < block.samples; ++i)
    {
        float input[kMaxChannels];
        for (int c = 0; c < block.channels; ++c)
            input[c] = block.inputs[c][i];
        for (int c = 0; c < block.channels; ++c)
        {
            Channel& channel = channels_[c];
            float sample = gain * input[swaps ? 1 - c : c];
            if (filters)
                sample = channel.filter_memory = sample + pole * (channel.filter_memory - sample);
            if (adds_noise)
                sample += noise_level * next_noise();
            if (echoes)
            {
                sample += feedback * channel.echo[channel.echo_position];
                channel.echo[channel.echo_position] = sample;
                channel.echo_position = (channel.echo_position + 1) % channel.echo.size();
            }
            block.outputs[c][i] = sample;
        }
    }
}

void Effect::mix_sidechain (const Block& block) const
{
    const int use = choice (kSidechain);
    if (use == kIgnore || block.sidechain_channels == 0)
        return;
    for (int c = 0; c < block.channels; ++c)
    {
        const float* source = block.sidechain[c % block.sidechain_channels];
        for (int i = 0; i < block.samples; ++i)
            block.outputs[c][i] = (use == kAdd ? block.outputs[c][i] : 0.0f) + source[i];
    }
}

// The reported latency is real. When it grows the line first gives out silence, when it shrinks it forgets the
// oldest samples, so that a host which realigns at once keeps everything else in place.
void Effect::delay (const Block& block)
{
    const size_t latency = latency_samples();
    for (int c = 0; c < block.channels; ++c)
    {
        std::deque<float>& line = channels_[c].line;
        if (line.size() < latency)
            line.insert (line.begin(), latency - line.size(), 0.0f);
        while (line.size() > latency)
            line.pop_front();
        if (latency == 0)
            continue;
        for (int i = 0; i < block.samples; ++i)
        {
            line.push_back (block.outputs[c][i]);
            block.outputs[c][i] = line.front();
            line.pop_front();
        }
    }
}

void Effect::write_probe (const Block& block) const
{
    for (int c = 0; c < block.channels; ++c)
        std::fill_n (block.outputs[c], block.samples, static_cast<float> (probe_ * kProbeScale));
}

void Effect::misbehave (const Block& block)
{
    const int fault = choice (kFault);
    const int64 at = static_cast<int64> (value (kFaultAt));
    if (fault == kNone || position_ + block.samples <= at)
        return;
    if (fault == kCrash)
        std::raise (SIGSEGV);
    while (fault == kHang)
        usleep (100000);
    if (fault != kNotANumber && fault != kInfinity && fault != kRunaway)
        return;
    const float wrong = fault == kNotANumber ? std::numeric_limits<float>::quiet_NaN()
                        : fault == kInfinity ? std::numeric_limits<float>::infinity()
                                             : 1.0e6f;
    const int first = static_cast<int> (std::max<int64> (0, at - position_));
    for (int c = 0; c < block.channels; ++c)
        std::fill (block.outputs[c] + first, block.outputs[c] + block.samples, wrong);
}

// Keep the processor busy for a share of the block's own time: a plugin of known cost.
void Effect::work (const Block& block) const
{
    using Clock = std::chrono::steady_clock;
    const double busy_s = value (kLoad) / 100.0 * block.samples / sample_rate();
    if (busy_s <= 0.0)
        return;
    const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration> (std::chrono::duration<double> (busy_s));
    while (Clock::now() < end)
    {
    }
}

float Effect::next_noise()
{
    constexpr double range = std::minstd_rand::max() - std::minstd_rand::min();
    return static_cast<float> (2.0 * (noise_() - std::minstd_rand::min()) / range - 1.0);
}

} // namespace conformance
