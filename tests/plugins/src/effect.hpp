#pragma once

#include "plugin.hpp"

#include <deque>
#include <random>

namespace conformance {

// An effect of which every property a host must respect can be set and measured: see ../README.md.
class Effect final : public Plugin
{
public:
    static Identity identity();

    Effect();

private:
    void render (const Block& block) override;
    void begin_block (ProcessData& data) override;
    void clear() override;
    void value_written (ParamID id, bool is_processing) override;
    bool measure (ParamID& id, double& plain) override;
    uint32 latency_samples() const override;
    uint32 tail_samples() const override;
    bool writes_garbage_state() const override;

    void shape (const Block& block);
    void mix_sidechain (const Block& block) const;
    void delay (const Block& block);
    void write_probe (const Block& block) const;
    void misbehave (const Block& block);
    void work (const Block& block) const;
    float next_noise();

    struct Channel
    {
        float filter_memory = 0.0f;
        std::vector<float> echo;
        size_t echo_position = 0;
        std::deque<float> line;
    };

    Channel channels_[kMaxChannels];
    std::minstd_rand noise_;
    int64 position_ = 0;
    uint32 extra_latency_ = 0;
    double probe_ = 0.0;
    float peak_ = 0.0f;
    bool is_disturbed_ = false;
};

} // namespace conformance
