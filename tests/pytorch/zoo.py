"""Tiny models of transformers, timm and torchvision, one for each kind of initialisation code, without a network.

Each is a name, what makes it and the arguments: two layers, widths of 32 to 64.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from conftest import library

__all__ = ["KINDS", "TIMM", "TORCHVISION", "TRANSFORMERS", "build"]

_SMALL: dict[str, Any] = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}  # inside of 96 tokens, as the defaults are not
_DECODER = {**_SMALL, **_TOKENS, "intermediate_size": 96, "num_key_value_heads": 2, "head_dim": 16}
_ENCODER = {**_SMALL, **_TOKENS, "intermediate_size": 96, "max_position_embeddings": 40}
_IMAGE = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
_IMAGE |= {"image_size": 32, "patch_size": 8}
_BOTH: dict[str, Any] = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": 96, **_TOKENS}
_BOTH |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}
_BOTH |= {"max_position_embeddings": 40, "decoder_start_token_id": 2, "forced_eos_token_id": None}
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_SPEECH = {"conv_dim": (32, 32), "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_feat_extract_layers": 2}
_SPEECH |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_DETECTOR: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
_DETECTOR |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_queries": 6, "num_labels": 3}
_DETECTOR |= {
    "backbone_config": {
        "model_type": "resnet",
        "embedding_size": 16,
        "hidden_sizes": [16, 32],
        "depths": [1, 1],
        "out_indices": [1, 2],
    }
}

# By kind: the class of the model, and what its configuration gets.
# fmt: off
_TRANSFORMERS: dict[str, dict[str, dict[str, Any]]] = {
    "decoder of text": {
        "GPT2LMHeadModel": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 96, "n_positions": 40, **_TOKENS},
        "GPTNeoForCausalLM": {**_ENCODER, "num_layers": 2, "num_heads": 4, "window_size": 8,
            "attention_types": [[["global", "local"], 1]]},
        "GPTJForCausalLM": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 96, "n_positions": 40,
            "rotary_dim": 8, **_TOKENS},
        "OpenAIGPTLMHeadModel": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 96, "n_positions": 40,
            **_TOKENS},
        "LlamaForCausalLM": _DECODER,
        "GemmaForCausalLM": _DECODER,
        "Gemma3ForCausalLM": _DECODER,
        "PhiForCausalLM": _DECODER,
        "FalconForCausalLM": _SMALL | _TOKENS,
        "BloomForCausalLM": {"n_layer": 2, "hidden_size": 64, "n_head": 4, "vocab_size": 96, **_TOKENS},
        "OPTForCausalLM": {**_ENCODER, "ffn_dim": 96, "word_embed_proj_dim": 32},
        "NemotronForCausalLM": _DECODER,
        "DiffLlamaForCausalLM": _DECODER,
    },
    "mixture of experts": {
        "MixtralForCausalLM": _DECODER | _EXPERTS,
        "Qwen2MoeForCausalLM": _DECODER | _EXPERTS | {"shared_expert_intermediate_size": 48},
        "Qwen3NextForCausalLM": _DECODER | _EXPERTS | {"shared_expert_intermediate_size": 48,
            "layer_types": ["linear_attention", "full_attention"], "linear_key_head_dim": 16,
            "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4},
        "DeepseekV3ForCausalLM": _DECODER | {"n_routed_experts": 4, "num_experts_per_tok": 2,
            "moe_intermediate_size": 32, "first_k_dense_replace": 1, "n_group": 2, "topk_group": 1,
            "q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16,
            "num_key_value_heads": 4},
        "GptOssForCausalLM": _DECODER | _EXPERTS,
    },
    "state space or recurrence": {
        "MambaForCausalLM": {**_SMALL, **_TOKENS, "state_size": 8, "time_step_rank": 8},
        "Mamba2ForCausalLM": {**_SMALL, **_TOKENS, "state_size": 8, "num_heads": 8, "head_dim": 16, "n_groups": 2},
        "JambaForCausalLM": _DECODER | _EXPERTS | {"attn_layer_period": 2, "attn_layer_offset": 1,
            "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 8},
        "RwkvForCausalLM": {**_SMALL, **_TOKENS, "attention_hidden_size": 64, "context_length": 32},
        "RecurrentGemmaForCausalLM": _DECODER | {"lru_width": 64, "num_hidden_layers": 3, "attention_window_size": 16},
    },
    "encoder of text": {
        "BertForPreTraining": _ENCODER,
        "RobertaForMaskedLM": _ENCODER,
        "DebertaV2ForMaskedLM": _ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "AlbertForMaskedLM": _ENCODER | {"embedding_size": 32},
        "DistilBertForMaskedLM": {"vocab_size": 96, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 96,
            "sinusoidal_pos_embds": True, "max_position_embeddings": 40, "pad_token_id": 0},
        "LongformerForMaskedLM": _ENCODER | {"attention_window": 8},
        "FunnelForPreTraining": {"vocab_size": 96, "d_model": 64, "n_head": 4, "d_head": 16, "d_inner": 96,
            "block_sizes": [1, 1], "num_decoder_layers": 1},
        "XLNetLMHeadModel": {"vocab_size": 96, "d_model": 64, "n_layer": 2, "n_head": 4, "d_inner": 96},
        "ReformerModelWithLMHead": {"vocab_size": 96, "hidden_size": 64, "feed_forward_size": 96,
            "attn_layers": ["local", "lsh"], "axial_pos_shape": (8, 8), "axial_pos_embds_dim": (24, 40),
            "num_attention_heads": 2, "is_decoder": True, "pad_token_id": 0, "eos_token_id": 2,
            "max_position_embeddings": 64},
    },
    "encoder and decoder of text": {
        "T5ForConditionalGeneration": {"vocab_size": 96, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2,
            "num_heads": 4, "decoder_start_token_id": 0, "tie_word_embeddings": False},
        "BartForConditionalGeneration": _BOTH,
        "M2M100ForConditionalGeneration": _BOTH,
        "LongT5ForConditionalGeneration": {"vocab_size": 96, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2,
            "num_heads": 4, "encoder_attention_type": "transient-global", "decoder_start_token_id": 0},
    },
    "sound": {
        "WhisperForConditionalGeneration": _BOTH | {"num_mel_bins": 16, "max_source_positions": 20,
            "max_target_positions": 20, "suppress_tokens": None, "begin_suppress_tokens": None},
        "Wav2Vec2ForPreTraining": _ENCODER | _SPEECH | {"num_codevectors_per_group": 12, "codevector_dim": 32,
            "proj_codevector_dim": 32},
        "HubertForCTC": _ENCODER | _SPEECH | {"conv_pos_batch_norm": True},
        "EncodecModel": {"num_filters": 8, "upsampling_ratios": [4, 2], "codebook_size": 32, "codebook_dim": 32,
            "hidden_size": 32, "target_bandwidths": [24.0]},
        "VitsModel": {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "ffn_dim": 48, "flow_size": 32, "spectrogram_bins": 20, "upsample_initial_channel": 32,
            "upsample_rates": [4, 2], "upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3]], "prior_encoder_num_flows": 2,
            "prior_encoder_num_wavenet_layers": 1, "posterior_encoder_num_wavenet_layers": 2,
            "duration_predictor_num_flows": 2, "depth_separable_num_layers": 1},
        "SpeechT5HifiGan": {"model_in_dim": 16, "upsample_initial_channel": 32, "upsample_rates": [4, 2],
            "upsample_kernel_sizes": [8, 4], "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]},
        "MusicgenForCausalLM": {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 4, "ffn_dim": 96, "num_codebooks": 2, "bos_token_id": 1, "pad_token_id": 3},
    },
    "images": {
        "ViTForImageClassification": _IMAGE,
        "BeitForImageClassification": _IMAGE | {"use_relative_position_bias": True,
            "use_shared_relative_position_bias": True, "use_mask_token": True},
        "SwinForImageClassification": {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1],
            "num_heads": [2, 4], "window_size": 4},
        "ConvNextForImageClassification": {"hidden_sizes": [16, 32], "depths": [1, 1], "num_stages": 2},
        "ResNetForImageClassification": {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]},
        "CvtForImageClassification": {"embed_dim": [16, 32, 32], "num_heads": [1, 2, 2], "depth": [1, 2, 3],
            "cls_token": [False, False, True]},
        "DetrForObjectDetection": _DETECTOR,
        "DeformableDetrForObjectDetection": _DETECTOR,
        "SamModel": {
            "vision_config": {**_IMAGE, "mlp_dim": 96, "output_channels": 32, "global_attn_indexes": [1],
                "window_size": 2},
            "prompt_encoder_config": {"hidden_size": 32, "image_size": 32, "patch_size": 8, "mask_input_channels": 8},
            "mask_decoder_config": {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 2,
                "iou_head_hidden_dim": 32}},
    },
    "images and text": {
        "CLIPModel": {"text_config": _ENCODER, "vision_config": _IMAGE, "projection_dim": 32},
        "SiglipModel": {"text_config": _ENCODER, "vision_config": _IMAGE},
        "LlavaForConditionalGeneration": {"text_config": {"model_type": "llama", **_DECODER},
            "vision_config": {"model_type": "clip_vision_model", **_IMAGE, "projection_dim": 32},
            "image_token_index": 90},
    },
    "other": {
        "PerceiverForMaskedLM": {"vocab_size": 96, "d_model": 64, "d_latents": 48, "num_latents": 12,
            "num_self_attends_per_block": 2, "num_self_attention_heads": 2, "num_cross_attention_heads": 2,
            "max_position_embeddings": 40, "qk_channels": 32, "v_channels": 48},
        "TimeSeriesTransformerForPrediction": {"prediction_length": 4, "context_length": 8, "d_model": 32,
            "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
            "num_static_categorical_features": 1, "cardinality": [10], "embedding_dimension": [8],
            "num_time_features": 1, "lags_sequence": [1, 2]},
    },
}
# fmt: on

_VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 10}
_SWIN = {"img_size": 32, "patch_size": 2, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
_CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (16, 24, 32, 48), "num_classes": 10}
_RESNET = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16), "num_classes": 10}
_MIXER = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "num_blocks": 2, "num_classes": 10}
_MAXXVIT = {"img_size": 64, "stem_width": 16, "embed_dim": (32, 64), "depths": (1, 1), "num_classes": 10}

# By kind: a name of a model, or a class and the module where it is; what it gets.
# fmt: off
_TIMM: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "attention": {
        "vit": ("vit_tiny_patch16_224", _VIT),
        "vit, jax": ("vit_tiny_patch16_224", _VIT | {"weight_init": "jax"}),
        "vit, jax_nlhb": ("vit_tiny_patch16_224", _VIT | {"weight_init": "jax_nlhb"}),
        "vit, moco": ("vit_tiny_patch16_224", _VIT | {"weight_init": "moco"}),
        "vit, fix_init": ("vit_tiny_patch16_224", _VIT | {"fix_init": True, "init_values": 1e-5, "reg_tokens": 2}),
        "vit, siglip": ("vit_base_patch16_siglip_224", _VIT),
        "vit, relpos": ("vit_relpos_small_patch16_224", _VIT),
        "deit, distilled": ("deit_tiny_distilled_patch16_224", _VIT),
        "beit": ("beit_base_patch16_224", _VIT),
        "eva": ("eva02_tiny_patch14_224", _VIT),
        "cait": ("cait_xxs24_224", _VIT),
        "swin": ("swin_tiny_patch4_window7_224", _SWIN),
        "swinv2": ("swinv2_tiny_window8_256", _SWIN),
        "swinv2_cr": ("swinv2_cr_tiny_224", _SWIN),
    },
    "attention and convolutions": {
        "vit, hybrid": ("vit_tiny_r_s16_p8_224", _VIT | {"img_size": 64, "patch_size": 1}),
        "xcit": ("xcit_nano_12_p16_224", _VIT),
        "maxvit": ("maxvit_rmlp_pico_rw_256", _MAXXVIT | {"block_type": ("M", "M")}),
        "coatnet": ("coatnet_0_224", _MAXXVIT | {"block_type": ("C", "T")}),
        "twins": ("twins_svt_small", {"embed_dims": (16, 16, 32, 32), "num_heads": (1, 1, 2, 2),
            "depths": (1, 1, 1, 1)}),
        "levit": ("levit_128s", {"img_size": 64, "embed_dim": (16, 24, 32), "key_dim": 8, "depth": (1, 1, 1),
            "num_heads": (2, 2, 2), "num_classes": 10}),
        "convit": ("convit_tiny", _VIT | {"embed_dim": 16, "local_up_to_layer": 1}),
        "pvt": ("pvt_v2_b0", {"depths": (1, 1, 1, 1), "embed_dims": (8, 16, 32, 64), "num_heads": (1, 2, 2, 4)}),
        "botnet": ("botnet26t_256", {"width_factor": 0.125, "num_classes": 10}),
        "halonet": ("halonet26t", {"width_factor": 0.125, "num_classes": 10}),
    },
    "convolutions": {
        "convnext": ("convnext_atto", _CONVNEXT),
        "mambaout": ("mambaout_femto", _CONVNEXT),
        "resnet": ("resnet50", _RESNET),
        "seresnet": ("seresnet50", _RESNET),
        "resnetv2": ("resnetv2.ResNetV2", {"layers": (1, 1), "channels": (128, 128), "stem_chs": 32,
            "num_classes": 10}),
        "regnet": ("regnety_002", {"depth": 4, "w0": 24, "wa": 16.0, "wm": 1.5, "group_size": 8, "num_classes": 10}),
        "nfnet": ("dm_nfnet_f0", {"depths": (1, 1, 1, 1), "channels": (16, 16, 32, 32), "group_size": 8,
            "num_features": 64, "num_classes": 10}),
        "densenet": ("densenet121", {"growth_rate": 8, "block_config": (1, 1, 1, 1), "num_classes": 10}),
        "vgg": ("vgg.VGG", {"cfg": (16, "M", 32), "mlp_ratio": 0.01, "num_classes": 10}),
        "efficientnet": ("tf_efficientnetv2_s", {"channel_multiplier": 0.25, "depth_multiplier": 0.1,
            "num_classes": 10}),
        "mobilenetv3": ("lcnet_035", {"num_classes": 10}),
    },
    "perceptrons or recurrence": {
        "mixer": ("mlp_mixer.MlpMixer", _MIXER),
        "mixer, nlhb": ("mlp_mixer.MlpMixer", _MIXER | {"nlhb": True}),
        "sequencer": ("sequencer.Sequencer2d", {"img_size": 56, "layers": (1, 1), "patch_sizes": (7, 2),
            "embed_dims": (16, 32), "hidden_sizes": (8, 8), "mlp_ratios": (3.0, 3.0), "num_classes": 10}),
    },
}
# fmt: on


def _detector(kind: str) -> Callable[[Any], nn.Module]:
    """On one convolution."""

    def make(tv: Any) -> nn.Module:
        detection = tv.detection
        backbone: Any = nn.Sequential(nn.Conv2d(3, 32, 3))
        backbone.out_channels = 32
        anchors = detection.anchor_utils.AnchorGenerator(((32,),), ((1.0,),))
        options = {"num_classes": 5, "anchor_generator": anchors}
        if kind == "FasterRCNN":
            options = {"rpn_anchor_generator": anchors, "box_head": detection.faster_rcnn.TwoMLPHead(32 * 7 * 7, 32)}
            options["box_predictor"] = detection.faster_rcnn.FastRCNNPredictor(32, 5)
        model: nn.Module = getattr(detection, kind)(backbone, **options)
        return model

    return make


def _swin(tv: Any, **options: Any) -> nn.Module:
    model: nn.Module = tv.SwinTransformer([2, 2], 16, [1, 1], [2, 4], [4, 4], num_classes=10, **options)
    return model


# By kind: what makes it, from ``torchvision.models``.
# fmt: off
_TORCHVISION: dict[str, dict[str, Callable[[Any], nn.Module]]] = {
    "convolutions": {
        "torchvision resnet": lambda tv: tv.ResNet(
            type("Narrow", (tv.resnet.Bottleneck,), {"expansion": 1}), [1, 1, 1, 1], 10, True, 4, 4),
        "torchvision densenet": lambda tv: tv.DenseNet(8, (1, 1, 1, 1), 16, num_classes=10),
        "torchvision squeezenet": lambda tv: tv.SqueezeNet("1_1", 10),
        "torchvision mobilenet_v2": lambda tv: tv.MobileNetV2(10, 0.25),
        "torchvision mobilenet_v3": lambda tv: tv.mobilenet_v3_small(num_classes=10, width_mult=0.25),
        "torchvision mnasnet": lambda tv: tv.MNASNet(0.25, 10),
        "torchvision shufflenet_v2": lambda tv: tv.ShuffleNetV2([1, 1, 1], [8, 16, 32, 48, 64], 10),
        "torchvision efficientnet": lambda tv: tv.EfficientNet([tv.efficientnet.MBConvConfig(2, 3, 1, 16, 8, 1),
            tv.efficientnet.FusedMBConvConfig(2, 3, 2, 8, 16, 1)], 0.1, num_classes=10),
        "torchvision regnet": lambda tv: tv.RegNet(
            tv.regnet.BlockParams.from_init_params(4, 24, 16.0, 1.5, 8, se_ratio=0.25), 10),
        "torchvision convnext": lambda tv: tv.ConvNeXt(
            [tv.convnext.CNBlockConfig(16, 24, 1), tv.convnext.CNBlockConfig(24, None, 1)], num_classes=10),
    },
    "attention": {
        "torchvision vit": lambda tv: tv.VisionTransformer(32, 8, 2, 4, 64, 96, num_classes=10),
        "torchvision swin": _swin,
        "torchvision swin_v2": lambda tv: _swin(tv, block=tv.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=tv.swin_transformer.PatchMergingV2),
    },
    "attention and convolutions": {
        "torchvision vit, stem": lambda tv: tv.VisionTransformer(32, 16, 2, 4, 64, 96, num_classes=10,
            representation_size=48, conv_stem_configs=[tv.vision_transformer.ConvStemConfig(16, 3, 2)] * 4),
        "torchvision maxvit": lambda tv: tv.MaxVit((64, 64), 16, 2, [16, 32], [1, 1], 16, 0.0, num_classes=10),
    },
    "segmentation": {
        "torchvision fcn": lambda tv: tv.segmentation.FCN(nn.Sequential(nn.Conv2d(3, 16, 3)),
            tv.segmentation.fcn.FCNHead(16, 5), tv.segmentation.fcn.FCNHead(16, 5)),
    },
    "detection": {
        "torchvision faster_rcnn": _detector("FasterRCNN"),
        "torchvision retinanet": _detector("RetinaNet"),
        "torchvision fcos": _detector("FCOS"),
    },
    "video": {
        "torchvision mvit": lambda tv: tv.video.MViT((16, 16), 4,
            [tv.video.mvit.MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 1, 1], [1, 2, 2]),
             tv.video.mvit.MSBlockConfig(2, 16, 32, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1])],
            False, False, True, True, num_classes=5),
    },
}
# fmt: on

TRANSFORMERS = {name: options for models in _TRANSFORMERS.values() for name, options in models.items()}
TIMM = {name: made for models in _TIMM.values() for name, made in models.items()}
TORCHVISION = {name: make for models in _TORCHVISION.values() for name, make in models.items()}
KINDS = {name: kind for zoo in (_TRANSFORMERS, _TIMM, _TORCHVISION) for kind, models in zoo.items() for name in models}


def build(name: str, **more: Any) -> nn.Module:
    """A new model, from the generators as they are; with more arguments for what makes it."""
    if name in TRANSFORMERS:
        kind = getattr(library("transformers"), name)
        model: nn.Module = kind(kind.config_class(**copy.deepcopy(TRANSFORMERS[name]), **more))
        return model
    if name in TORCHVISION:
        return TORCHVISION[name](library("torchvision.models"))
    timm = library("timm")
    maker, options = TIMM[name]
    module, _, kind = maker.partition(".")
    make = getattr(getattr(timm.models, module), kind) if kind else functools.partial(timm.create_model, maker)
    model = make(**options, **more)
    return model
