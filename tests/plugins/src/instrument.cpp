#include "instrument.hpp"

#include <algorithm>
#include <cmath>

#ifndef CONFORMANCE_NAME_SUFFIX
#define CONFORMANCE_NAME_SUFFIX ""
#define CONFORMANCE_CLASS_WORD 0x00000001
#endif

namespace conformance {
namespace {

enum Id : ParamID { kLevel = 1, kBendRange, kBend, kLatency, kSustain };

constexpr double kConcertPitchHz = 440.0;

std::vector<Parameter> instrument_parameters()
{
    return {
        { kLevel, "Level", "dB", -60.0, 0.0, 0.0 },
        { kBendRange, "Bend Range", "semitones", 0, 24, 2, 24 },
        { kBend, "Pitch Bend", "", -1.0, 1.0, 0.0 },
        { kLatency, "Latency", "samples", 0, 4095, 0, 4095 },
        { kSustain, "Sustain", "", 0, 1, 0, 1, false, { "Off", "On" } },
    };
}

} // namespace

Identity Instrument::identity()
{
    return { FUID (0x52564346, 0x494E5354, 0x52000000, CONFORMANCE_CLASS_WORD),
             "Conformance Instrument" CONFORMANCE_NAME_SUFFIX, "Instrument|Synth", true, false };
}

Instrument::Instrument() : Plugin (identity(), instrument_parameters()) {}

uint32 Instrument::latency_samples() const { return static_cast<uint32> (value (kLatency)); }

bool Instrument::map_controller (CtrlNumber controller, ParamID& id) const
{
    id = controller == kPitchBend ? kBend : kSustain;
    return controller == kPitchBend || controller == kCtrlSustainOnOff;
}

void Instrument::clear()
{
    voices_.clear();
    held_.clear();
    line_.assign (latency_samples(), 0.0f);
    line_position_ = 0;
}

void Instrument::handle_event (const Event& event)
{
    if (event.type == Event::kNoteOnEvent && event.noteOn.velocity > 0.0f)
    {
        voices_.push_back ({ event.noteOn.pitch, event.noteOn.velocity, 0.0 });
        return;
    }
    const bool is_off = event.type == Event::kNoteOffEvent || event.type == Event::kNoteOnEvent;
    if (! is_off)
        return;
    const int pitch = event.type == Event::kNoteOffEvent ? event.noteOff.pitch : event.noteOn.pitch;
    if (choice (kSustain) == 1)
    {
        held_.push_back (pitch);
        return;
    }
    end_note (pitch);
}

void Instrument::end_note (int pitch)
{
    voices_.erase (std::remove_if (voices_.begin(), voices_.end(),
                                   [pitch] (const Voice& voice) { return voice.note == pitch; }),
                   voices_.end());
}

void Instrument::render (const Block& block)
{
    const double level = std::pow (10.0, value (kLevel) / 20.0);
    if (choice (kSustain) == 0)
    {
        for (const int pitch : held_)
            end_note (pitch);
        held_.clear();
    }
    const double bend_semitones = value (kBend) * value (kBendRange);
    if (line_.size() != latency_samples())
    {
        line_.assign (latency_samples(), 0.0f);
        line_position_ = 0;
    }
    for (int i = 0; i < block.samples; ++i)
    {
        double sum = 0.0;
        for (Voice& voice : voices_)
        {
            const double frequency_hz = kConcertPitchHz * std::exp2 ((voice.note - 69 + bend_semitones) / 12.0);
            sum += voice.velocity * std::sin (2.0 * M_PI * voice.phase);
            voice.phase = std::fmod (voice.phase + frequency_hz / sample_rate(), 1.0);
        }
        float sample = static_cast<float> (level * sum);
        if (! line_.empty())
        {
            std::swap (sample, line_[line_position_]);
            line_position_ = (line_position_ + 1) % line_.size();
        }
        for (int c = 0; c < block.channels; ++c)
            block.outputs[c][i] = sample;
    }
}

} // namespace conformance
