#pragma once

#include "plugin.hpp"

namespace conformance {

// A sine for every note, exact to the sample: amplitude = velocity, gated, no envelope.
class Instrument final : public Plugin
{
public:
    static Identity identity();

    Instrument();

private:
    void render (const Block& block) override;
    void handle_event (const Event& event) override;
    void clear() override;
    uint32 latency_samples() const override;
    bool map_controller (CtrlNumber controller, ParamID& id) const override;

    void end_note (int pitch);

    struct Voice
    {
        int note;
        double velocity;
        double phase;
    };

    std::vector<Voice> voices_;
    std::vector<int> held_; // notes that have ended while the pedal was down
    std::vector<float> line_;
    size_t line_position_ = 0;
};

} // namespace conformance
