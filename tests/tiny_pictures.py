"""Tiny models that look at pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_tokenizers import WIDTH, byte_pairs, labels, wordpiece

_VISION = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 2 * WIDTH,
    "image_size": 32,
    "patch_size": 8,
}
_SQUARE = {"size": {"height": 32, "width": 32}}


def vit(directory: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(**_SQUARE).save_pretrained(directory)
    config = ViTConfig(**_VISION, **labels("cat", "dog", "car"), initializer_range=0.5)
    ViTForImageClassification(config).save_pretrained(directory)


def clip(directory: Path) -> None:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(directory)
    tokenizer = byte_pairs(directory, length=32)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 32,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    CLIPModel(CLIPConfig(text_config=text, vision_config=dict(_VISION), projection_dim=WIDTH)).save_pretrained(directory)


def siglip(directory: Path) -> None:
    from transformers import SiglipConfig, SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    SiglipImageProcessorPil(**_SQUARE).save_pretrained(directory)
    tokenizer = byte_pairs(directory, length=64)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 64,
        "projection_size": WIDTH,
        "eos_token_id": 0,
        "bos_token_id": 0,
        "pad_token_id": 1,
    }
    SiglipModel(SiglipConfig(text_config=text, vision_config=dict(_VISION))).save_pretrained(directory)


def yolos(directory: Path) -> None:
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    YolosImageProcessorPil(size={"shortest_edge": 32, "longest_edge": 64}).save_pretrained(directory)
    config = YolosConfig(
        **{**_VISION, "image_size": [32, 32]}, num_detection_tokens=6, **labels("cat", "dog", "car"), initializer_range=0.5
    )
    YolosForObjectDetection(config).save_pretrained(directory)


def _resnet_config() -> Any:
    from transformers import ResNetConfig

    return ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], out_features=["stage4"])


def _detr_config() -> Any:
    from transformers import DetrConfig

    return DetrConfig(
        backbone_config=_resnet_config(),
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        num_queries=6,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=WIDTH,
        decoder_ffn_dim=WIDTH,
        **labels("cat", "dog", "car"),
    )


def detr(class_name: str) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers
        from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

        DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(directory)
        config = _detr_config()
        if class_name == "DetrForSegmentation":
            # the mask head wants d_model + heads to be divisible by 8, and the features of every stage
            config.encoder_attention_heads = config.decoder_attention_heads = 8
            config.backbone_config.out_features = ["stage1", "stage2", "stage3", "stage4"]
        getattr(transformers, class_name)(config).save_pretrained(directory)

    return write


def segformer(directory: Path) -> None:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation
    from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(directory)
    config = SegformerConfig(
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[8, WIDTH],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=WIDTH,
        **labels("road", "sky", "tree"),
    )
    SegformerForSemanticSegmentation(config).save_pretrained(directory)


def mask2former(directory: Path) -> None:
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
    from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil

    Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}, size_divisor=32).save_pretrained(directory)
    backbone = SwinConfig(
        image_size=64,
        patch_size=2,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=2 * WIDTH,
        mask_feature_size=2 * WIDTH,
        hidden_dim=2 * WIDTH,
        encoder_feedforward_dim=WIDTH,
        encoder_layers=1,
        decoder_layers=2,
        dim_feedforward=WIDTH,
        num_attention_heads=2,
        num_queries=6,
        **labels("road", "sky", "tree"),
    )
    Mask2FormerForUniversalSegmentation(config).save_pretrained(directory)


def blip(directory: Path) -> None:
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    wordpiece(directory)
    tokenizer = BertTokenizer.from_pretrained(directory)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "encoder_hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 64,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = BlipConfig(text_config=text, vision_config=dict(_VISION), projection_dim=WIDTH)
    BlipForConditionalGeneration(config).save_pretrained(directory)
    BlipProcessor(BlipImageProcessorPil(**_SQUARE), tokenizer).save_pretrained(directory)


def vit_gpt2(directory: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(**_SQUARE).save_pretrained(directory)
    tokenizer = byte_pairs(directory)
    decoder = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=WIDTH,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        add_cross_attention=True,
        is_decoder=True,
    )
    model = VisionEncoderDecoderModel(encoder=ViTModel(ViTConfig(**_VISION), add_pooling_layer=False), decoder=GPT2LMHeadModel(decoder))
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id = 0
        config.pad_token_id = 1
        config.eos_token_id = 0
    model.save_pretrained(directory)


def git(directory: Path) -> None:
    from transformers import BertTokenizer, GitConfig, GitForCausalLM, GitProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    wordpiece(directory)
    tokenizer = BertTokenizer.from_pretrained(directory)
    config = GitConfig(
        vision_config=dict(_VISION),
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    GitForCausalLM(config).save_pretrained(directory)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    GitProcessor(images, tokenizer).save_pretrained(directory)
