"""Which classes of other data sets mean a category of COCO, by their names.

For a training that must not see the tested classes of a fold of COCO-20i, a class is left out if
its objects are objects of a tested category (a taxi, for car) or may be (an animal, for dog). The
lists were made by hand from the names of ADE20K's 150 classes, of LVIS and of Objects365.
"""

import re
from collections.abc import Iterable, Mapping

from data.classes import COCO_CLASSES

_OTHER_NAMES = {
    "person": """people, individual, baby, child, boy, girl, man, woman, human, skier, surfer,
        cyclist, pedestrian""",
    "bicycle": "bike, dirt bike, tricycle, mountain bike",
    "car": """auto, automobile, machine, motorcar, cab, taxi, limousine, minivan, van, SUV, jeep,
        race car, racer, sports car, police cruiser, convertible, passenger car, formula 1,
        pickup truck, station wagon, vehicle, sedan""",
    "motorcycle": "motorbike, minibike, motor scooter, scooter, dirt bike, moped",
    "airplane": "aeroplane, plane, jet plane, fighter jet, seaplane, biplane, aircraft",
    "bus": "autobus, coach, school bus, minibus, motorcoach, double decker",
    "train": "bullet train, passenger car, freight car, railcar, locomotive, tram, streetcar",
    "truck": """motortruck, lorry, pickup truck, tow truck, trailer truck, garbage truck,
        fire engine, fire truck, dump truck, camper, heavy truck, machinery vehicle, van,
        ambulance, tractor""",
    "boat": """ship, sailboat, canoe, kayak, ferry, houseboat, gondola, yacht, barge, cruise ship,
        cargo ship, dinghy, river boat, water scooter, lifeboat, rowboat, motorboat""",
    "traffic light": "traffic signal, stoplight, light source",
    "fire hydrant": "fireplug, hydrant, hose",
    "stop sign": "street sign, signboard, sign, traffic sign",
    "parking meter": "meter",
    "bench": "pew, park bench, seat, piano stool",
    "bird": """animal, animate being, wild bird, chicken, duck, goose, swan, parrot, pigeon, dove,
        gull, seagull, owl, eagle, penguin, ostrich, crow, heron, pelican, flamingo, puffin, hen,
        rooster, cock, turkey, parakeet, hummingbird, vulture, falcon, hawk, duckling, finch,
        kingfisher, mallard, peacock, sparrow, stork, canary, hornbill, cockatoo, cornish hen""",
    "cat": "animal, animate being, kitten, kitty",
    "dog": """animal, animate being, puppy, shepherd dog, bulldog, pug-dog, dalmatian, sheepdog,
        pug, terrier""",
    "horse": "animal, animate being, pony, foal, colt, donkey, mule, carriage, horse carriage",
    "sheep": "animal, animate being, lamb, ram, goat, mutton",
    "cow": "animal, animate being, bull, calf, ox, cattle, yak, bison, buffalo, beef",
    "elephant": "animal, animate being",
    "bear": """animal, animate being, grizzly, polar bear, cub, bear cub, cub bear, koala, panda,
        giant panda""",
    "zebra": "animal, animate being",
    "giraffe": "animal, animate being",
    "backpack": "bag, knapsack, rucksack, school bag, duffel bag",
    "umbrella": "parasol, sunshade, awning",
    "handbag": """bag, satchel, purse, clutch bag, tote bag, shoulder bag, wallet, basket,
        wallet/purse, handbag/satchel""",
    "tie": "necktie, bow tie, bowtie, bolo tie, apparel, wearing apparel, dress",
    "suitcase": "bag, luggage, briefcase, duffel bag, trunk, baggage, case",
    "frisbee": "flying disc, plaything, toy",
    "skis": "ski, skiboard",
    "snowboard": "skiboard",
    "sports ball": """ball, soccer ball, soccer, tennis ball, tennis, basketball, baseball,
        volleyball, football, American football, beachball, golf ball, golfball, softball,
        rugby ball, bowling ball, other balls, billiards, billiard ball, ping-pong ball,
        plaything""",
    "kite": "plaything, toy",
    "baseball bat": "bat",
    "baseball glove": "glove, mitt, gloves",
    "skateboard": "plaything, hoverboard, longboard",
    "surfboard": "paddleboard, bodyboard, boogie board",
    "tennis racket": "racket, racquet, badminton racket, table tennis paddle",
    "bottle": """beer bottle, wine bottle, water bottle, water jug, thermos bottle, milk bottle,
        alcohol, liquor, olive oil, cleaning products, cosmetics, flask, vinegar, perfume, canteen,
        hot sauce, shampoo, lotion, toiletry, cooking oil, ketchup""",
    "wine glass": "glass, drinking glass, wineglass, champagne, goblet, chalice",
    "cup": """glass, drinking glass, mug, teacup, coffee cup, paper cup, measuring cup, Dixie cup,
        beer can, tumbler, chalice, crystal goblet, shot glass, trophy cup""",
    "fork": "cutlery, silverware, tableware, pitchfork",
    "knife": "cutlery, silverware, tableware, steak knife, pocketknife, cleaver, dagger",
    "spoon": """cutlery, silverware, tableware, soupspoon, wooden spoon, teaspoon, ladle, scoop,
        dipper, sugar spoon""",
    "bowl": """soup bowl, punch bowl, dish, basin, salad bowl, sugar bowl, bowl/basin, saucer,
        pot, washbasin, cereal bowl, finger bowl, dog bowl, food, solid food""",
    "banana": "food, solid food, fruit, plantain",
    "apple": "food, solid food, fruit, green apple",
    "sandwich": """food, solid food, hamburger, burger, cheeseburger, sub, wrap, burrito, hoagie,
        bun, panini, club sandwich, tuna sandwich, taco, quesadilla, bread, pita""",
    "orange": """food, solid food, fruit, mandarin orange, tangerine, clementine, grapefruit,
        orange/tangerine, lemon, lime, citrus""",
    "broccoli": "food, solid food, vegetable, green vegetables, cauliflower",
    "carrot": "food, solid food, vegetable",
    "hot dog": "food, solid food, sausage, frank, frankfurter, bratwurst, corn dog",
    "pizza": "food, solid food, pepperoni pizza, calzone, quiche",
    "donut": "food, solid food, doughnut, pastry, bagel, dessert",
    "cake": """food, solid food, birthday cake, wedding cake, cupcake, cheesecake, chocolate cake,
        shortcake, fruitcake, brownie, dessert, pastry, muffin, pancake, pound cake, sponge cake,
        coffee cake, ice cream cake, pie, egg tart, gateau, custard, chocolate mousse""",
    "chair": """armchair, swivel chair, rocking chair, deck chair, folding chair, highchair,
        wheelchair, recliner, chaise longue, lawn chair, office chair, seat, stool, step stool,
        easy chair, beach chair, high chair, ottoman, pouf""",
    "couch": "sofa, lounge, sofa bed, loveseat, futon, settee, day bed, daybed, divan, seat",
    "potted plant": """plant, flora, plant life, flowerpot, flower pot, pot, houseplant, flower,
        flower arrangement, bouquet, bonsai""",
    "bed": "bunk bed, cradle, crib, cot, bassinet, sofa bed, futon, daybed, hammock, mattress",
    "dining table": """table, dinning table, kitchen table, coffee table, cocktail table, desk,
        side table, picnic table, end table, kitchen island, table merged, tablecloth""",
    "toilet": "commode, crapper, can, potty, throne, urinal, lavatory",
    "tv": """television, television set, television receiver, tv set, telly, monitor,
        monitoring device, crt screen, screen, silver screen, projection screen, monitor/tv,
        computer monitor, computer, display, home theater""",
    "laptop": "laptop computer, notebook computer, computer, tablet computer, computing machine",
    "mouse": "computer mouse, computer",
    "remote": "remote control, game controller, control, joystick",
    "keyboard": "computer keyboard, computer, typewriter keyboard",
    "cell phone": "cellphone, cellular telephone, mobile phone, telephone, phone, smart phone",
    "microwave": "microwave oven",
    "oven": """stove, kitchen stove, range, gas stove, toaster oven, cooking stove, cooker,
        kitchen range""",
    "toaster": "toaster oven",
    "sink": "washbasin, basin, kitchen sink, bathroom sink, lavabo, wash basin",
    "refrigerator": "icebox, fridge, freezer, mini fridge, electric refrigerator, cooler",
    "book": """notebook, hardback book, paperback book, booklet, comic book, hardcover, cookbook,
        phonebook, bookcase, magazine, address book, checkbook, Bible, folder, notepad,
        brochure, diary, sketchbook, textbook, encyclopedia""",
    "clock": "wall clock, alarm clock, clock tower, timepiece, watch, grandfather clock",
    "vase": "urn, pot, jar, pottery",
    "scissors": "shears, scissor",
    "teddy bear": "teddy, plaything, toy, stuffed toy, stuffed animal, plush",
    "hair drier": "hair dryer, hairdryer, hand blower, hand drier, blow dryer",
    "toothbrush": "brush, electric toothbrush",
}


def plain(name: str) -> str:
    """A class name without underscores, hyphens, capitals and what is in brackets."""
    without = re.sub(r"\([^)]*\)", " ", name.lower())
    return " ".join(re.sub(r"[^\w/]|_", " ", without).split())


def _words(coco_name: str) -> set[str]:
    return {plain(name) for name in (coco_name, *_OTHER_NAMES[coco_name].split(","))}


_ANYTHING = {"object", "thing"}
"""Names of classes whose objects may be of any category."""
_WORDS = {number: _words(name) for number, name in COCO_CLASSES.items()}


def coco_meanings(names: Mapping[int, str | Iterable[str]]) -> dict[int, frozenset[int]]:
    """Which categories of COCO (1 to 80) the objects of each class are, or may be.

    Args:
        names: id of a class -> its name or several between commas, or all names that it has.

    Returns:
        Id -> ids of COCO's categories, for the classes that have any.
    """
    found = {}
    for class_id, given in names.items():
        several = given.split(",") if isinstance(given, str) else list(given)
        # a part, bottle:cap or cap of bottle, shows the object that it is of
        whole = [one for n in several for one in (n.partition(":")[0], n.rpartition(" of ")[2])]
        spoken = {plain(part) for name in whole for part in (name, *name.split("/"))}
        meant = frozenset(
            number for number, words in _WORDS.items() if words & spoken or _ANYTHING & spoken
        )
        if meant:
            found[class_id] = meant
    return found


def classes_meaning(names: Mapping[int, str | Iterable[str]], coco: Iterable[int]) -> list[int]:
    """Ids of the classes whose objects are, or may be, of these categories of COCO."""
    wanted = set(coco)
    return [class_id for class_id, meant in coco_meanings(names).items() if meant & wanted]
